from hypothesis import given
from hypothesis import strategies as st

from service.sources.newesttag import newest_tags
from service.sources.semver import InvalidVersion, Range, Version


def newest(wanted: str, *tags: str) -> tuple[str, ...]:
    return newest_tags([f"refs/tags/{tag}" for tag in tags], Range.parse(wanted))


def test_the_newest_inside_the_range_with_or_without_a_v():
    assert newest("1.x", "v1.0.0", "1.9.0", "v1.10.0", "2.0.0", "v0.9.9") == ("v1.10.0",)


def test_only_tags_of_three_numbers_count():
    assert newest("*", "v1", "1.2", "latest", "release/1.2.3", "1.2.3.4", "01.2.3") == ()
    assert newest_tags(["refs/heads/9.0.0", "refs/tags/1.0.0", "HEAD"], Range.parse("*")) == ("1.0.0",)


def test_pre_releases_only_where_the_range_names_one():
    assert newest(">=1.0.0", "1.0.0", "1.1.0-rc.1") == ("1.0.0",)
    assert newest(">=1.0.0-0", "1.0.0", "1.1.0-rc.1") == ("1.1.0-rc.1",)


def test_equal_versions_are_all_named():
    assert newest("*", "1.0.0", "v1.0.0", "1.0.0+two", "0.9.0") == ("1.0.0", "v1.0.0", "1.0.0+two")


versions = st.builds(lambda v, *n: f"{v}{n[0]}.{n[1]}.{n[2]}", st.sampled_from(["", "v"]), *[st.integers(0, 3)] * 3)


@given(st.lists(st.one_of(versions, st.text(max_size=8)), max_size=30), st.sampled_from(["*", "~1.2", "^2", ">=1.0.0 <3", "0.x || 3.x"]))
def test_nothing_inside_the_range_is_newer(tags, wanted):
    def inside(tag: str) -> Version | None:
        try:
            version = Version.parse(tag, strict=True)
        except InvalidVersion:
            return None
        return version if version in Range.parse(wanted) else None

    found = newest(wanted, *tags)
    all_inside = [version for tag in tags if (version := inside(tag)) is not None]
    assert {inside(tag) for tag in found} == ({max(all_inside)} if all_inside else set())
