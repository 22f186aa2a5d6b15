"""The parse cache's bound."""

from service.kustomize.cache import ParseCache


def test_the_oldest_go_when_the_bound_is_passed() -> None:
    cache = ParseCache(100)
    for name in "abc":
        cache.put(("1.2", name), name, 40)
        cache.get(("1.2", "a"))
    assert [cache.get(("1.2", name)) for name in "abc"] == ["a", None, "c"]
    assert cache.used_bytes == 80


def test_a_value_above_the_bound_is_not_kept() -> None:
    cache = ParseCache(10)
    cache.put(("1.2", "a"), "a", 11)
    assert cache.get(("1.2", "a")) is None
    assert cache.used_bytes == 0
