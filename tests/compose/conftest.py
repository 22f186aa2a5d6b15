"""Towns, as in the tests of the Kustomizations."""

from tests.kustomizations.conftest import hamlet, place

__all__ = ["hamlet", "place"]
