"""Tests of path patterns and of the table that finds a route."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server.exceptions import RouteError
from server.routing import Found, Pattern, RouteTable, join_prefix

SEGMENT = st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1)


@pytest.mark.parametrize(
    ("pattern", "path", "params"),
    [
        # one segment
        ("/chat/{channel}", "/chat/lobby", {"channel": "lobby"}),
        ("/chat/{channel}", "/chat/", None),
        ("/chat/{channel}", "/chat", None),
        ("/chat/{channel}", "/chat/a/b", None),
        ("/chat/{channel}", "/chat/lobby/", None),
        ("/chat/{channel}/", "/chat/lobby/", {"channel": "lobby"}),
        ("/chat/{channel}/", "/chat/lobby", None),
        ("/{a}/{b}", "/1/2", {"a": "1", "b": "2"}),
        ("/{a}-{b}", "/x-y-z", {"a": "x-y", "b": "z"}),
        ("/v{major}.{minor}", "/v1.2", {"major": "1", "minor": "2"}),
        ("/{_}", "/x", {"_": "x"}),
        ("/{größe}", "/7", {"größe": "7"}),
        # the rest
        ("/files/{name:path}", "/files/a/b.txt", {"name": "a/b.txt"}),
        ("/files/{name:path}", "/files/", {"name": ""}),
        ("/files/{name:path}", "/files", None),
        ("/files{name:path}", "/files", {"name": ""}),
        ("/{name:path}/edit", "/a/b/edit", {"name": "a/b"}),
        ("/{name:path}/edit", "/edit", None),
        ("/{name:path}/edit", "//edit", {"name": ""}),
        # the rest, unnamed
        ("{}", "/any/thing", {}),
        ("{}", "", {}),
        ("/x/{}", "/x/", {}),
        ("/x/{}", "/x/y/z", {}),
        ("/x/{}", "/x", None),
        ("/{a}/{}", "/1/2/3", {"a": "1"}),
        # literals are no expressions
        ("/a.b", "/a.b", {}),
        ("/a.b", "/axb", None),
        ("/a+(b)|c*/{d}", "/a+(b)|c*/1", {"d": "1"}),
        ("/[a-z]/{b}", "/x/1", None),
        (r"/\d/{b}", "/1/1", None),
        # any text may stand in a path
        ("/{a}", "/x\ny", {"a": "x\ny"}),
        ("/{a:path}", "/x\n/y\n", {"a": "x\n/y\n"}),
        ("/{}", "/\n", {}),
        ("/x", "/x\n", None),
        ("/{a}", "/100%", {"a": "100%"}),
        ("/{a}", "/a%2Fb", {"a": "a%2Fb"}),
        ("/{a}", "/häß💡", {"a": "häß💡"}),
        ("/café/{a}", "/café/ ", {"a": " "}),
        ("/{a}", "/\x00", {"a": "\x00"}),
        # a whole path or nothing
        ("/{a}", "x/y", None),
        ("/x/{a}", "/y/x/1", None),
        ("/{a}", "/X", {"a": "X"}),
        ("/x/{a}", "/X/1", None),
    ],
)
def test_pattern_matches_whole_paths_only(pattern, path, params):
    assert Pattern(pattern).match(path) == params


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("chat", "/chat"),
        ("{room}", "/{room}"),
        ("", "/"),
        ("/", "/"),
        ("//", "//"),
        ("{}", "{}"),
        ("{}x", "/{}x"),
    ],
)
def test_missing_leading_slash_is_added_except_for_the_lone_rest(written, text):
    assert Pattern(written).text == text


@pytest.mark.parametrize(
    "pattern", ["/{id:int}", "/{id:uuid}", "/{id:}", "/{id:path:x}", "/{:int}"]
)
def test_unknown_converter_is_a_type_error(pattern):
    with pytest.raises(TypeError, match="unknown converter"):
        Pattern(pattern)


@pytest.mark.parametrize(
    "pattern", ["/{", "/}", "/{a", "/a}", "/{a}}", "/{{a}", "/{a}/}{", "/{{a}}", "/{a{b}}"]
)
def test_unbalanced_braces_are_refused(pattern):
    with pytest.raises(RouteError, match="unbalanced"):
        Pattern(pattern)


@pytest.mark.parametrize(
    "pattern", ["/{a-b}", "/{1a}", "/{ a}", "/{a b}", "/{:path}", "/{*}", "/{class}", "/{None}"]
)
def test_name_that_no_parameter_can_have_is_refused(pattern):
    with pytest.raises(RouteError, match="is not a parameter name"):
        Pattern(pattern)


@pytest.mark.parametrize("pattern", ["/{a}/{a}", "/{a}/{a:path}", "/{a}/{b}/{a}"])
def test_parameter_named_twice_is_refused(pattern):
    with pytest.raises(RouteError, match="'a' appears twice"):
        Pattern(pattern)


def test_several_unnamed_rests_are_allowed():
    pattern = Pattern("/{}/x/{}")
    assert pattern.match("/a/x/b") == {}
    assert pattern.names == []


def test_names_keep_the_order_of_the_pattern():
    assert Pattern("/{b}/{}/{a:path}").names == ["b", "a"]


@pytest.mark.parametrize(
    ("pattern", "is_static"),
    [("/", True), ("/a.b", True), ("/{a}", False), ("{}", False), ("/x/{}", False)],
)
def test_static_means_without_fields(pattern, is_static):
    assert Pattern(pattern).is_static is is_static


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("/{a}", "/{b}", True),
        ("/{a:path}", "/{b:path}", True),
        ("/{a:path}", "/{}", True),
        ("/{a}", "/{a:path}", False),
        ("/{a}", "/{a}/", False),
        ("/x", "x", True),
        ("/x", "/X", False),
        ("{}", "/{}", False),
    ],
)
def test_shape_is_equal_for_patterns_that_match_the_same_paths(one, other, same):
    assert (Pattern(one).shape == Pattern(other).shape) is same


@given(st.text())
@example("{")
@example("/{a}{a}")
@example("/{a:b:c}")
def test_any_text_makes_a_pattern_or_a_documented_error(text):
    try:
        pattern = Pattern(text)
    except (RouteError, TypeError):
        return
    assert pattern.text in (text, "/" + text)
    assert pattern.is_static is ("{" not in text)


@given(st.text(), st.sampled_from(["/{a}", "/x/{a:path}", "{}", "/x", "/{a}.{b}/{c:path}", "/"]))
def test_match_of_any_text_never_fails(path, pattern):
    params = Pattern(pattern).match(path)
    assert params is None or list(params) == Pattern(pattern).names


@given(SEGMENT, SEGMENT)
def test_match_gives_segments_back_as_they_stand(first, second):
    assert Pattern("/{a}/x/{b}").match(f"/{first}/x/{second}") == {"a": first, "b": second}


@given(st.text())
def test_match_gives_the_rest_back_as_it_stands(rest):
    assert Pattern("/x/{rest:path}").match(f"/x/{rest}") == {"rest": rest}


@given(st.text(st.characters(exclude_characters="{}", exclude_categories=["Cs"])), st.text())
def test_static_pattern_matches_nothing_but_itself(text, path):
    pattern = Pattern(text)
    assert pattern.match(pattern.text) == {}
    assert (pattern.match(path) is not None) is (path == pattern.text)


# -- prefixes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prefix", "pattern", "joined"),
    [
        ("", "/x", "/x"),
        ("", "{}", "{}"),
        ("/api", "/x", "/api/x"),
        ("/api", "x", "/api/x"),
        ("/api", "/", "/api/"),
        ("/api", "{}", "/api/{}"),
        ("/api/v1", "/x/", "/api/v1/x/"),
        ("/{tenant}", "/x", "/{tenant}/x"),
    ],
)
def test_prefix_stands_before_the_pattern(prefix, pattern, joined):
    assert join_prefix(prefix, pattern) == joined


@pytest.mark.parametrize("prefix", ["api", "/api/", "/", "api/", "//"])
def test_prefix_must_begin_with_a_slash_and_not_end_with_one(prefix):
    with pytest.raises(RouteError, match="prefix"):
        join_prefix(prefix, "/x")


# -- table -----------------------------------------------------------------------------------------


def table(*patterns: str) -> RouteTable[str]:
    made: RouteTable[str] = RouteTable()
    for pattern in patterns:
        made.add(Pattern(pattern), pattern)
    return made


@pytest.mark.parametrize(
    ("path", "route", "params"),
    [
        ("/users/me", "/users/me", {}),
        ("/users/7", "/users/{id}", {"id": "7"}),
        ("/users/7/", None, None),
        ("/users", None, None),
        ("/users/", None, None),
        ("/files/7/8", "/files/{rest:path}", {"rest": "7/8"}),
        ("/files/7/all", "/files/7/all", {}),
        ("/", "/", {}),
        ("", None, None),
    ],
)
def test_find_prefers_static_patterns_then_registration_order(path, route, params):
    routes = table(
        "/users/{id}", "/users/me", "/files/{rest:path}", "/files/{id}", "/files/7/all", "/"
    )
    assert routes.find(path) == (None if route is None else Found(route, params))


@pytest.mark.parametrize(
    ("patterns", "found"),
    [(["/{a}", "/{b:path}"], "/{a}"), (["/{b:path}", "/{a}"], "/{b:path}")],
)
def test_the_first_registered_pattern_wins(patterns, found):
    result = table(*patterns).find("/x")
    assert result is not None
    assert result.route == found


def test_static_routes_win_whatever_the_order():
    for order in (["/{a}", "{}", "/x"], ["/x", "{}", "/{a}"]):
        assert table(*order).find("/x") == ("/x", {})


def test_trailing_slash_makes_another_path():
    routes = table("/x", "/y/", "/p/{a}")
    assert [routes.find(path) for path in ("/x/", "/y", "/p/1/")] == [None, None, None]


def test_each_find_returns_parameters_of_its_own():
    routes = table("/x", "/p/{a}")
    for path in ("/x", "/p/1"):
        first, second = routes.find(path), routes.find(path)
        assert first is not None
        assert second is not None
        assert first.params is not second.params


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ("/x", "/x", r"'/x' is registered already$"),
        ("/x", "x", r"'/x' is registered already$"),
        ("/{a}", "/{b}", r"'/\{b\}' is registered already as '/\{a\}'"),
        ("/{a:path}", "/{}", r"'/\{\}' is registered already as '/\{a:path\}'"),
    ],
)
def test_pattern_of_the_same_shape_is_refused(first, second, message):
    routes = table(first)
    with pytest.raises(RouteError, match=message):
        routes.add(Pattern(second), second)


def test_refused_pattern_leaves_the_table_as_it_was():
    routes = table("/{a}")
    with pytest.raises(RouteError):
        routes.add(Pattern("/{b}"), "other")
    assert routes.find("/1") == ("/{a}", {"a": "1"})


@given(st.text())
def test_find_of_any_text_never_fails(path):
    found = table("/x", "/{a}", "/f/{b:path}").find(path)
    assert found is None or path.startswith("/")
