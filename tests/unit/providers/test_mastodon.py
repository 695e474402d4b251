"""Mastodon and Pixelfed as they answer: what is read from it, and what comes of every trouble."""

from __future__ import annotations

import asyncio
import html
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, TypeVar

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from actors.budget import Limit, RateReport
from actors.outcomes import ClientError, Credential, RateLimited, Refused, Reply, TokenRevoked, Transient
from raylike.errors import ConfigError
from raylike.providers.base import Objection, Page, Post, Query, Reading, User, walk
from raylike.providers.mastodon import Mastodon, Pixelfed, plain_text

T = TypeVar("T")
TOKEN = "ZA-Yj3aBD8U8Cm7lKUp-lm9O9BmDgdhHzDeqsY8tlL0"
CREDENTIAL = Credential("anna", SecretStr(TOKEN))
HTML = "<html><head><title>502 Bad Gateway</title></head></html>"
MINUTES_5, MINUTES_15 = Limit(300, 300.0, fixed=True), Limit(300, 900.0, fixed=True)

Answer = Callable[[web.Request], web.StreamResponse]


def account(**changes: Any) -> dict[str, Any]:
    """An account, as documented."""
    return {
        "id": "42", "username": "a", "acct": "a", "display_name": "A", "locked": False, "bot": False,
        "discoverable": True, "indexable": True, "noindex": False, "created_at": "2023-01-01T00:00:00.000Z",
        "followers_count": 547, "following_count": 404, "statuses_count": 2846,
    } | changes  # fmt: skip


def attachment(**changes: Any) -> dict[str, Any]:
    """An image, as documented."""
    return {
        "id": "9", "type": "image", "url": "https://files.test/original/9.jpeg",
        "preview_url": "https://files.test/small/9.jpeg", "remote_url": None,
        "meta": {"original": {"width": 1080, "height": 1350, "size": "1080x1350", "aspect": 0.8},
                 "small": {"width": 384, "height": 480}, "focus": {"x": 0.0, "y": 0.0}},
        "description": "a selfie", "blurhash": "UFBWY",
    } | changes  # fmt: skip


def status(number: int = 113000000000000001, **changes: Any) -> dict[str, Any]:
    """A post, as documented."""
    return {
        "id": str(number), "created_at": "2026-10-01T08:00:00.250Z", "sensitive": False, "spoiler_text": "",
        "visibility": "public", "language": "en", "uri": "https://h.test/users/a/statuses/1130",
        "url": "https://h.test/@a/1130", "replies_count": 1, "reblogs_count": 2, "favourites_count": 17,
        "edited_at": None, "reblog": None, "account": account(), "media_attachments": [attachment()],
        "content": '<p>hi <a href="https://h.test/tags/me" class="mention hashtag">#<span>me</span></a></p>',
        "mentions": [], "tags": [{"name": "me", "url": "https://h.test/tags/me"}], "emojis": [],
    } | changes  # fmt: skip


def always(body: object, code: int = 200, **headers: str) -> Answer:
    """The same answer to everything; text is HTML."""
    kind = "text/html" if isinstance(body, str) else "application/json"
    text = body if isinstance(body, str) else json.dumps(body)
    return lambda request: web.Response(text=text, status=code, content_type=kind, headers=headers)


def ask(answer: Answer, call: Callable[[Mastodon], Awaitable[T]], network: type[Mastodon] = Mastodon,
        **options: Any) -> T:  # fmt: skip
    """What a provider makes of a server that answers like this."""

    async def main() -> T:
        async def handle(request: web.Request) -> web.StreamResponse:
            return answer(request)

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handle)
        async with TestServer(app) as server, aiohttp.ClientSession() as session:
            return await call(network(session, str(server.make_url("/")), **options))

    return asyncio.run(main())


def page(answer: Answer, cursor: str | None = None, size: int = 40, **options: Any) -> Reply[Page]:
    return ask(answer, lambda provider: provider.page(CREDENTIAL, Query("me"), cursor, size), **options)


def one(changes: dict[str, Any], **options: Any) -> Post:
    (post,) = page(always([status(**changes)]), **options).value.posts
    return post


def users(answer: Answer, *user_ids: str, **options: Any) -> list[User]:
    return ask(answer, lambda provider: provider.users(CREDENTIAL, user_ids), **options).value


def readings(answer: Answer, *post_ids: str, **options: Any) -> list[Reading]:
    return ask(answer, lambda provider: provider.readings(CREDENTIAL, post_ids), **options).value


def test_a_post_is_read_as_documented_with_its_account_s_followers() -> None:
    assert one({}) == Post(
        "113000000000000001",
        "42",
        datetime(2026, 10, 1, 8, 0, 0, 250_000, UTC),
        kind="image",
        image_url="https://files.test/original/9.jpeg",
        likes=17,
        comments=1,
        width=1080,
        height=1350,
        tags=("me",),
        caption="hi #me",
        permalink="https://h.test/@a/1130",
        followers=547,
        following=404,
        media_count=2846,
    )


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"media_attachments": [attachment(type="video", url="https://files.test/v.mp4")]}, "kind", "video"),
        ({"media_attachments": [attachment(type="gifv"), attachment(type="audio")]}, "kind", "gifv"),
        ({"media_attachments": [attachment(type="unknown", url=None)]}, "kind", "unknown"),
        ({"media_attachments": []}, "kind", "text"),
        ({"reblog": {"id": "7"}}, "kind", "reblog"),
        (
            {"media_attachments": [attachment(type="video", url="v"), attachment(), attachment(url="z")]},
            "image_url",
            "https://files.test/original/9.jpeg",
        ),
        ({"media_attachments": [attachment(url=None, remote_url="http://b.test/1")]}, "image_url", "http://b.test/1"),
        ({"media_attachments": [attachment(meta=None)]}, "width", None),
        ({"favourites_count": None}, "likes", None),
        ({"favourites_count": 0}, "likes", 0),
        ({"replies_count": "x"}, "comments", None),
        ({"account": account(followers_count=0)}, "followers", 0),
        ({"account": account(followers_count=None)}, "followers", None),
        ({"content": ""}, "caption", None),
        ({"tags": [{"name": "me"}, {"url": "x"}, None]}, "tags", ("me",)),
        ({"url": None}, "permalink", "https://h.test/users/a/statuses/1130"),
    ],
)  # fmt: skip
def test_what_varies_between_posts(changes: dict[str, Any], field: str, value: object) -> None:
    assert getattr(one(changes), field) == value


@pytest.mark.parametrize(
    "changes",
    [
        {"id": None},
        {"id": "../1"},
        {"account": None},
        {"account": account(id="")},
        {"created_at": "yesterday"},
        {"created_at": "2026-10-01T08:00:00"},
        {"media_attachments": [attachment(url=None)]},
    ],
)
def test_entries_that_are_no_posts_are_counted(changes: dict[str, Any]) -> None:
    value = page(always([status(1, **changes), None, status(2)])).value
    assert value.malformed == 2
    assert [post.post_id for post in value.posts] == ["2"]


@pytest.mark.parametrize(
    ("changes", "of_account", "objections"),
    [
        ({}, {}, set()),
        ({"visibility": "unlisted"}, {}, {Objection.NOT_PUBLIC}),
        ({"visibility": None}, {}, {Objection.NOT_PUBLIC}),
        ({"sensitive": True}, {}, {Objection.SENSITIVE}),
        ({}, {"noindex": True}, {Objection.NO_INDEX}),
        ({}, {"noindex": None}, set()),
        ({}, {"indexable": False}, {Objection.NOT_INDEXABLE}),
        ({}, {"indexable": None}, {Objection.NOT_INDEXABLE}),
        ({}, {"bot": True}, {Objection.BOT}),
        ({}, {"discoverable": False}, {Objection.NOT_DISCOVERABLE}),
        ({}, {"discoverable": None}, {Objection.NOT_DISCOVERABLE}),
        ({}, {"locked": True}, {Objection.LOCKED}),
        ({"sensitive": True}, {"bot": True, "locked": True},
         {Objection.SENSITIVE, Objection.BOT, Objection.LOCKED}),
    ],
)  # fmt: skip
def test_what_speaks_against_a_post_is_passed_on(
    changes: dict[str, Any], of_account: dict[str, Any], objections: set[Objection]
) -> None:
    assert one(changes | {"account": account(**of_account)}).objections == objections


def test_a_server_that_says_nothing_of_indexing_raises_no_objection() -> None:
    silent = {key: value for key, value in account().items()
              if key not in ("indexable", "noindex", "discoverable", "bot", "locked")}  # fmt: skip
    assert one({"account": silent}).objections == frozenset()


def test_counts_of_posts_from_elsewhere_are_unknown_unless_they_are_wanted() -> None:
    remote = {"account": account(acct="a@elsewhere.test")}
    assert (one(remote).likes, one(remote).comments, one(remote).followers) == (None, None, 547)
    assert (one(remote, local=False).likes, one(remote, local=False).comments) == (17, 1)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("<p>hi <b>#me</b></p>", "hi #me"),
        ("<p>one</p><p>two</p>", "one\ntwo"),
        ("one<br />\ntwo<br>three", "one\ntwo\nthree"),
        ("<ul><li>one</li><li>two</li></ul>", "one\ntwo"),
        ("<p>  much \n\t space </p>", "much space"),
        ("<p>&lt;3 &amp; &#128512;</p>", "<3 & 😀"),
        ("a < b <3", "a < b <3"),
        ('<a href="https://h.test/tags/me">#<span>me</span></a>', "#me"),
        ("<![if x]>still here", "<![if x]>still here"),
        ("<p", "<p"),
        ("", ""),
    ],
)
def test_captions_are_text_without_tags(content: str, text: str) -> None:
    assert plain_text(content) == text


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=200))
def test_what_a_person_wrote_comes_out_of_the_html_unchanged(written: str) -> None:
    assert plain_text(f"<p>{html.escape(written)}</p>") == " ".join(written.split())


@given(st.text("<>/!?&;ap \"'=[]-#", max_size=300))
def test_no_html_is_too_broken(content: str) -> None:
    assert len(plain_text(content)) <= len(content)


def test_captions_end_where_no_server_s_posts_are_as_long() -> None:
    assert len(plain_text("x" * 1_000_000)) == 20_000


def test_a_page_asks_for_the_server_s_own_media_and_the_token_is_in_the_header() -> None:
    seen: list[web.Request] = []

    def answer(request: web.Request) -> web.Response:
        seen.append(request)
        return web.json_response([])

    page(answer)
    page(answer, size=7, local=False)
    assert [request.path for request in seen] == ["/api/v1/timelines/tag/me"] * 2
    assert dict(seen[0].query) == {"only_media": "1", "limit": "40", "local": "1"}
    assert dict(seen[1].query) == {"only_media": "1", "limit": "7"}
    assert {request.headers["Authorization"] for request in seen} == {f"Bearer {TOKEN}"}
    assert TOKEN not in str([request.url for request in seen])


def test_an_odd_tag_stays_below_tag() -> None:
    seen: list[str] = []

    def answer(request: web.Request) -> web.Response:
        seen.append(request.raw_path.partition("?")[0])
        return web.json_response([])

    ask(answer, lambda provider: provider.page(CREDENTIAL, Query("caf\u00e9/../x?"), None, 40))
    assert seen == ["/api/v1/timelines/tag/caf%C3%A9%2F..%2Fx%3F"]


def paged(request: web.Request, ids: list[int]) -> web.Response:
    """Two posts a page, and a next page until one is empty, as Mastodon has it."""
    before = int(request.query.get("max_id", 10**18))
    entries = [status(number) for number in ids if number < before][:2]
    headers = {}
    if entries:
        url = request.url.with_path(request.path)
        older = url.with_query(dict(request.query) | {"max_id": entries[-1]["id"], "access_token": TOKEN})
        newer = url.with_query(min_id=entries[0]["id"])
        headers = {"Link": f'<{newer}>; rel="prev", <{older}>; rel="next"'}
    return web.json_response(entries, headers=headers)


def all_ids(answer: Answer, network: type[Mastodon]) -> tuple[list[str], list[str | None]]:
    """Ids of the posts of all pages, and the cursors that led there."""
    cursors: list[str | None] = []

    async def call(provider: Mastodon) -> list[str]:
        async def fetch(cursor: str | None) -> Page:
            cursors.append(cursor)
            return (await provider.page(CREDENTIAL, Query("me"), cursor, 2)).value

        (start,) = provider.starts(Query("me"))
        return [post.post_id async for found in walk(fetch, start) for post in found.posts]

    return ask(answer, call, network), cursors


def test_pages_follow_to_the_end_and_cursors_hold_no_token() -> None:
    ids = [900, 800, 700, 600, 500]
    found, cursors = all_ids(lambda request: paged(request, ids), Mastodon)
    assert found == [str(number) for number in ids]
    assert len(cursors) == 4
    assert TOKEN not in str(cursors)
    assert all(cursor is None or "only_media=1" in cursor for cursor in cursors)


def test_pixelfed_names_no_next_page_and_is_read_to_the_end_all_the_same() -> None:
    ids = [900, 800, 700, 600, 500]

    def answer(request: web.Request) -> web.Response:
        response = paged(request, ids)
        response.headers.pop("Link", None)
        return response

    found, cursors = all_ids(answer, Pixelfed)
    assert found == [str(number) for number in ids]
    assert len(cursors) == 4
    assert len(all_ids(answer, Mastodon)[0]) == 2, "a Mastodon server names its next page"


def test_a_pixelfed_server_that_ignores_where_to_go_on_ends_with_an_error() -> None:
    with pytest.raises(Refused, match="never end"):
        all_ids(always([status(3), status(2)]), Pixelfed)


@pytest.mark.parametrize(
    "address",
    ["http://elsewhere.test/api/v1/x", "https://127.0.0.1:1/api/v1/x", "nonsense", "//x", "/api/v1/x"],
)
def test_a_next_page_elsewhere_is_never_asked_for(address: str) -> None:
    for network in (Mastodon, Pixelfed):
        with pytest.raises(Refused, match="next page"):
            page(always([status()], Link=f'<{address}>; rel="next"'), network=network)
        with pytest.raises(Refused, match="next page"):
            page(always([]), cursor=address, network=network)


@pytest.mark.parametrize(
    "link",
    [
        "",
        "nonsense",
        "<http://elsewhere.test/>",
        "<http://elsewhere.test/>; rel=nextish",
        '<http://elsewhere.test/>; rel="prev"',
        '<http://elsewhere.test/style.css>; rel="preload"; as="style"',
    ],
)
def test_other_links_are_no_next_page(link: str) -> None:
    assert page(always([status()], Link=link)).value.cursor is None


@pytest.mark.parametrize("answer", [always([]), always({"error": "Record not found"}, 404)])
def test_a_tag_that_nobody_used_is_an_empty_page(answer: Answer) -> None:
    assert page(answer).value == Page(())


ERRORS: list[tuple[Answer, type[ClientError], str]] = [
    (always({"error": "The access token is invalid"}, 401), TokenRevoked, "The access token is invalid"),
    (always({"error": "Dieser Zugriffs-Token ist abgelaufen"}, 401), TokenRevoked, "abgelaufen"),
    (always({"error": "outside the authorized scopes"}, 403), TokenRevoked, "HTTP 403: outside"),
    (always({"message": "Forbidden"}, 403), TokenRevoked, "Forbidden"),
    (always({}, 401), TokenRevoked, "HTTP 401"),
    (always({"error": "Zu viele Anfragen"}, 429), RateLimited, "rate limit"),
    (always(HTML, 429), RateLimited, "rate limit"),
    (always({"error": "Too many"}, 429, **{"Retry-After": "9"}), RateLimited, "9 s"),
    (always({"error": "Validation failed: no"}, 422), Refused, "HTTP 422: Validation failed: no"),
    (always({"error": "gone"}, 410), Refused, "HTTP 410: gone"),
    (always({"message": "Not Found"}, 404), Refused, "HTTP 404: Not Found"),
    (always(HTML, 404), Refused, "HTML"),
    (always(HTML), Refused, "HTML"),
    (always({"posts": []}), Refused, "another shape"),
    (always({"error": "please try again"}, 503), Transient, "HTTP 503"),
    (always(HTML, 502), Transient, "HTTP 502"),
    (always("[{"), Transient, "truncated"),
    (always("", 302, Location="http://elsewhere.test/"), Refused, "redirects"),
]


@pytest.mark.parametrize(("answer", "error", "words"), ERRORS)
def test_errors_have_one_meaning_whatever_the_language(
    answer: Answer, error: type[ClientError], words: str
) -> None:
    for call in (page, users, readings):
        with pytest.raises(error, match=words):
            call(answer)


def test_accounts_cannot_be_looked_up_where_nothing_is_found() -> None:
    with pytest.raises(Refused, match="HTTP 404: Record not found"):
        users(always({"error": "Record not found"}, 404), "1", "2")
    with pytest.raises(Refused, match="HTTP 404: Record not found"):
        readings(always({"error": "Record not found"}, 404), "1", "2")


def test_no_error_holds_the_token() -> None:
    answer = always({"error": f"{TOKEN} is bad"}, 401)
    for network in (Mastodon, Pixelfed):
        with pytest.raises(TokenRevoked) as caught:
            page(answer, network=network)
        assert TOKEN not in repr(caught.value)
        assert "anna" in str(caught.value)


def test_accounts_are_looked_up_together_with_a_row_for_each() -> None:
    seen: list[list[str]] = []

    def answer(request: web.Request) -> web.Response:
        seen.append(request.query.getall("id[]"))
        return web.json_response([
            account(id="3", suspended=True, followers_count=0), account(id="1"),
            account(id="4", followers_count=None), account(id="5", limited=True, locked=True, suspended=None),
        ])  # fmt: skip

    assert users(answer, "1", "2", "3", "4", "5") == [
        User("1", "ok", 547, 404, 2846),
        User("2", "gone"),
        User("3", "gone"),
        User("4", "failed"),
        User("5", "ok", 547, 404, 2846),
    ]
    assert seen == [["1", "2", "3", "4", "5"]]


def test_posts_are_read_again_together_with_a_row_for_each() -> None:
    seen: list[list[str]] = []

    def answer(request: web.Request) -> web.Response:
        seen.append(request.query.getall("id[]"))
        return web.json_response([status(2, favourites_count=20), status(1, favourites_count=None)])

    assert readings(answer, "1", "2", "3") == [
        Reading("1", "ok", None, 1),
        Reading("2", "ok", 20, 1),
        Reading("3", "gone"),
    ]
    assert seen == [["1", "2", "3"]]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (always(account()), User("a/b", "ok", 547, 404, 2846)),
        (always({"error": "Record not found"}, 404), User("a/b", "gone")),
        (always({}), User("a/b", "failed")),
    ],
)
def test_pixelfed_looks_up_one_account(answer: Answer, expected: User) -> None:
    seen: list[str] = []

    def noting(request: web.Request) -> web.StreamResponse:
        seen.append(request.raw_path)
        return answer(request)

    assert users(noting, "a/b", network=Pixelfed) == [expected]
    assert seen == ["/api/v1/accounts/a%2Fb"]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (always(status(7)), Reading("7", "ok", 17, 1)),
        (always({"error": "Record not found"}, 404), Reading("7", "gone")),
        (always({"error": "Forbidden"}, 403), Reading("7", "gone")),
        (always({"error": "Invalid request"}, 400), Reading("7", "gone")),
    ],
)
def test_pixelfed_reads_one_post_again_which_may_have_become_private(
    answer: Answer, expected: Reading
) -> None:
    assert readings(answer, "7", network=Pixelfed) == [expected]


def test_pixelfed_refuses_what_is_no_answer_about_one_item() -> None:
    for call in (users, readings):
        with pytest.raises(TokenRevoked):
            call(always({"error": "Unauthenticated."}, 401), "7", network=Pixelfed)
        with pytest.raises(Refused, match="HTTP 422"):
            call(always({"message": "odd"}, 422), "7", network=Pixelfed)
        with pytest.raises(Refused, match="another shape"):
            call(always([]), "7", network=Pixelfed)
    with pytest.raises(TokenRevoked):
        users(always({"message": "Forbidden"}, 403), "7", network=Pixelfed)


def rate(headers: dict[str, str], **options: Any) -> RateReport | None:
    async def main() -> RateReport | None:
        async with aiohttp.ClientSession() as session:
            return Mastodon(session, "https://h.test", **options).rate(headers)

    return asyncio.run(main())


DATE = "Mon, 23 Nov 2026 18:46:40 GMT"


@pytest.mark.parametrize(
    ("reset", "date", "after_s"),
    [
        ("2026-11-23T18:50:00.123456Z", DATE, 200.0),
        ("2026-11-23T18:50:00+00:00", DATE, 200.0),
        ("2026-11-23T19:50:00.5+01:00", DATE, 200.0),
        ("1795459800", DATE, 200.0),
        ("2026-11-23T18:51:40.999999Z", DATE, 300.0),
        ("2026-11-23T18:46:39Z", DATE, 0.0),
        ("2026-11-23T23:00:00Z", DATE, 900.0),
        ("2026-11-23T18:50:00.123456Z", "Mon, 23 Nov 2026 19:46:40 +0100", 200.0),
        ("soon", DATE, None),
        ("2026-11-23T18:50:00", DATE, None),
        ("99999999999999999", DATE, None),
    ],
)
def test_a_reset_counts_from_the_server_s_own_date(reset: str, date: str, after_s: float | None) -> None:
    headers = {"X-RateLimit-Limit": "300", "X-RateLimit-Remaining": "298", "X-RateLimit-Reset": reset}
    assert rate(headers | {"Date": date}) == RateReport(300, 298, after_s)


@pytest.mark.parametrize("date", [{}, {"Date": "long ago"}])
def test_without_a_date_a_reset_counts_from_this_machine_s_clock(date: dict[str, str]) -> None:
    reset = (datetime.now(UTC) + timedelta(seconds=120)).isoformat()
    report = rate(date | {"X-RateLimit-Reset": reset})
    assert report is not None
    assert report.reset_after_s == pytest.approx(120, abs=10)


def test_a_window_never_lasts_longer_than_the_one_with_its_limit() -> None:
    headers = {"X-RateLimit-Limit": "50", "X-RateLimit-Reset": "2026-11-23T18:50:00Z", "Date": DATE}
    assert rate(headers, limits=(Limit(50, 10.0),)) == RateReport(50, None, 10.0)


def test_headers_without_a_limit_report_nothing() -> None:
    assert rate({"Date": DATE, "Content-Type": "application/json"}) is None
    assert rate({"X-RateLimit-Limit": "many"}) is None
    assert rate({"X-RateLimit-Remaining": "0"}) == RateReport(None, 0)


@given(st.text(max_size=40), st.text(max_size=40), st.integers(-(10**12), 10**12))
def test_no_header_breaks_the_report(reset: str, date: str, seconds: int) -> None:
    for headers in (
        {"X-RateLimit-Reset": reset, "Date": date},
        {"X-RateLimit-Reset": str(seconds), "Date": DATE},
    ):
        report = rate(headers)
        assert report is None or 0.0 <= (report.reset_after_s or 0.0) <= 900.0


@given(st.integers(0, 2 * 10**9), st.floats(0, 0.999999), st.sampled_from([300, 900]))
def test_a_reset_as_mastodon_computes_it_is_within_its_window(
    second: int, part: float, period_s: int
) -> None:
    sent_at = datetime.fromtimestamp(second, UTC) + timedelta(seconds=part)
    reset = sent_at + timedelta(seconds=period_s - second % period_s)
    headers = {"X-RateLimit-Limit": "300", "X-RateLimit-Reset": reset.isoformat(timespec="microseconds"),
               "Date": format_datetime(sent_at.replace(microsecond=0), usegmt=True)}  # fmt: skip
    report = rate(headers)
    assert report is not None
    assert report.reset_after_s == period_s - second % period_s


def test_every_answer_brings_its_rate() -> None:
    headers = {"X-RateLimit-Limit": "300", "X-RateLimit-Remaining": "7"}
    assert page(always([], **headers)).rate == RateReport(300, 7)
    assert page(always({"error": "x"}, 404, **headers)).rate == RateReport(300, 7)
    for network, body in ((Mastodon, []), (Pixelfed, account())):
        reply = ask(always(body, **headers), lambda provider: provider.users(CREDENTIAL, ["1"]), network)
        assert reply.rate == RateReport(300, 7)


@pytest.mark.parametrize("network", [Mastodon, Pixelfed])
def test_pages_have_a_limit_of_their_own_whatever_the_settings_say(network: type[Mastodon]) -> None:
    async def limits(given: tuple[Limit, ...] | None) -> tuple[tuple[Limit, ...], tuple[Limit, ...]]:
        async with aiohttp.ClientSession() as session:
            provider = network(session, "https://h.test", given)
            return provider.limits, provider.page_limits

    assert asyncio.run(limits(None)) == ((MINUTES_5,), (MINUTES_5, MINUTES_15))
    slow = Limit(5, 10.0)
    assert asyncio.run(limits((slow,))) == ((slow,), (slow, MINUTES_15))


@pytest.mark.parametrize("network", [Mastodon, Pixelfed])
def test_a_server_has_to_be_named(network: type[Mastodon]) -> None:
    async def main() -> None:
        async with aiohttp.ClientSession() as session:
            network(session)

    with pytest.raises(ConfigError, match=network.name) as caught:
        asyncio.run(main())
    assert caught.value.where == "source.base_url"
