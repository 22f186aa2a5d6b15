"""The fixtures of the trigger room, and worker processes that are shared by the tests that need one."""

from tests.triggers.conftest import cluster as cluster
from tests.triggers.conftest import kube as kube
from tests.triggers.conftest import store as store
