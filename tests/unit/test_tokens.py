"""Tokens as people keep them: the text, the file, what adding and removing mean, and what a run takes."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from raylike import tokens
from raylike.config import SourceSettings
from raylike.errors import CannotWrite, ConfigError, CredentialsError, RaylikeError, ServiceUnavailable
from raylike.tokens import keeping
from raylike.tokens.checking import Checked, check, choose
from raylike.tokens.naming import MAX_LENGTH, alias_of, free, is_alias
from raylike.tokens.store import TokenStore, default_path
from raylike.tokens.text import ANYWHERE, Credential, Lent, Scope, TokenText, origin, shown_end
from tests.unit.providers.v1_server import TOKEN, V1Server

ROOT = Path(__file__).parents[2]
ANNA = "101.1fb234f.0f0f0f0f0f0f0f0f0f0f0f0f0f0fanna"
BERT = "102.1fb234f.0f0f0f0f0f0f0f0f0f0f0f0f0f0fbert"
CARLA = "ZA-Yj3aBD8U8Cm7lKUp-lm9O9BmDgdhHzDeqsY8carla"
V1, MASTODON = Scope("instagram_v1"), Scope("mastodon")
SOCIAL, OTHER = "https://social.example", "https://other.example"


def written(path: Path, text: str, mode: int = 0o600) -> TokenStore:
    path.write_text(text)
    path.chmod(mode)
    return TokenStore(path)


@pytest.fixture
def store(tmp_path: Path) -> TokenStore:
    return TokenStore(tmp_path / "tokens")


def parsed(text: str) -> TokenText:
    return TokenText.parse(text.splitlines(), "x")


def shown(found: list[Credential]) -> list[tuple[str, str]]:
    return [(credential.alias, credential.secret.get_secret_value()) for credential in found]


def add(store: TokenStore, token: str, scope: Scope = V1, alias: str | None = None) -> keeping.Kept:
    return keeping.add(store, SecretStr(token), scope, alias)


class TestText:
    def test_sections_name_providers_and_what_stands_before_them_is_good_for_all(self) -> None:
        text = parsed(f"# friends\nanna={ANNA}\n\n[instagram_v1]\nbert={BERT}\n[mastodon {SOCIAL}/]\n{CARLA}")
        assert [(lent.alias, lent.scope) for lent in text.lent] == [
            ("anna", ANYWHERE),
            ("bert", V1),
            ("token-7", Scope("mastodon", SOCIAL)),
        ]
        assert shown(text.good_for("instagram_v1")) == [("anna", ANNA), ("bert", BERT)]
        assert shown(text.good_for("pixelfed")) == [("anna", ANNA)]

    def test_a_plain_list_goes_on_working(self) -> None:
        assert shown(parsed(f"# friends\nanna = {ANNA}\n\n{BERT}\n").good_for("mastodon")) == [
            ("anna", ANNA),
            ("token-4", BERT),
        ]

    @pytest.mark.parametrize(
        ("base_url", "expected"), [(SOCIAL, ["carla"]), (f"{SOCIAL}:443/x", ["carla"]), (OTHER, []), ("", [])]
    )
    def test_a_token_of_one_server_goes_to_no_other(self, base_url: str, expected: list[str]) -> None:
        text = parsed(f"[mastodon {SOCIAL}]\ncarla={CARLA}")
        assert [found.alias for found in text.good_for("mastodon", base_url)] == expected

    def test_a_token_under_two_aliases_counts_once(self) -> None:
        text = parsed(f"a={ANNA}\nb={ANNA}\n[instagram_v1]\nc={ANNA}\n{BERT}")
        assert shown(text.good_for("instagram_v1")) == [("a", ANNA), ("token-5", BERT)]

    def test_a_made_up_alias_gives_way_to_one_that_somebody_chose(self) -> None:
        assert [lent.alias for lent in parsed(f"{ANNA}\ntoken-1={BERT}").lent] == ["token-1-2", "token-1"]

    def test_the_end_of_a_bare_token_is_no_alias(self) -> None:
        assert shown(parsed("dGhpcyBpcyBhIHRva2Vu==").good_for("x")) == [
            ("token-1", "dGhpcyBpcyBhIHRva2Vu==")
        ]

    @pytest.mark.parametrize(
        "text",
        [
            f"{ANNA} {BERT}",
            f"anna={ANNA}é",
            f"a={ANNA}\na={BERT}",
            f"a={ANNA}\n[mastodon]\na={BERT}",
            f"[mastodon {ANNA}",
            f"[Mastodon]\n{ANNA}",
            f"[mastodon ftp://h]\n{ANNA}",
            f"[mastodon https://h:x]\n{ANNA}",
        ],
    )
    def test_what_is_not_clear_is_refused_and_not_repeated(self, text: str) -> None:
        with pytest.raises(CredentialsError, match=r"x, line \d") as caught:
            parsed(text)
        assert ANNA not in str(caught.value)
        assert BERT not in str(caught.value)

    def test_the_same_alias_may_serve_two_networks(self) -> None:
        text = parsed(f"[mastodon]\na={ANNA}\n[pixelfed]\na={BERT}")
        assert shown(text.good_for("pixelfed")) == [("a", BERT)]

    def test_a_new_token_goes_to_the_end_of_its_section_and_nothing_else_moves(self) -> None:
        text = parsed(f"# top\na={ANNA}\n\n[mastodon]\n# mine\n\n[pixelfed]\nb={BERT}")
        added = text.adding(Lent(Credential("c", SecretStr(CARLA)), MASTODON))
        assert added.render() == f"# top\na={ANNA}\n\n[mastodon]\n# mine\nc={CARLA}\n\n[pixelfed]\nb={BERT}\n"

    def test_a_section_is_made_where_there_is_none(self) -> None:
        lent = Lent(Credential("c", SecretStr(CARLA)), Scope("mastodon", SOCIAL))
        assert TokenText().adding(lent).render() == f"[mastodon {SOCIAL}]\nc={CARLA}\n"
        assert parsed(f"a={ANNA}").adding(lent).render() == f"a={ANNA}\n\n[mastodon {SOCIAL}]\nc={CARLA}\n"

    def test_the_lines_are_no_part_of_what_is_printed(self) -> None:
        text = parsed(f"# old={ANNA}\nb={BERT}")
        for thing in (text, *text.lent):
            assert ANNA not in f"{thing} {thing!r}"
            assert BERT not in f"{thing} {thing!r}"

    @given(
        st.lists(
            st.tuples(
                st.sampled_from([ANYWHERE, V1, MASTODON, Scope("mastodon", SOCIAL)]),
                st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", fullmatch=True),
                st.from_regex(r"[!-Z^-~][!-~]{15,30}", fullmatch=True).filter(lambda t: t[0] != "#"),
            ),
            unique_by=(lambda each: each[1], lambda each: each[2]),
            max_size=8,
        )
    )
    def test_what_is_written_is_read_again(self, each: list[tuple[Scope, str, str]]) -> None:
        lent = [Lent(Credential(alias, SecretStr(token)), scope) for scope, alias, token in each]
        text = TokenText()
        for one in lent:
            text = text.adding(one)
        again = parsed(text.render())
        assert {(one.alias, one.token, one.scope) for one in again.lent} == {
            (one.alias, one.token, one.scope) for one in lent
        }
        assert again.render() == text.render()
        assert again.without(lent).lent == []

    @pytest.mark.parametrize(
        ("address", "expected"),
        [
            ("https://Social.Example:443/api/v1", SOCIAL),
            ("http://127.0.0.1:8080/v1", "http://127.0.0.1:8080"),
            ("http://[::1]:80/", "http://[::1]"),
            ("", ""),
            ("social.example", ""),
        ],
    )
    def test_an_origin_is_spelt_in_one_way(self, address: str, expected: str) -> None:
        assert origin(address) == expected

    @pytest.mark.parametrize(("token", "end"), [(ANNA, "anna"), ("short-one", "")])
    def test_of_a_token_four_characters_are_shown_and_of_a_short_one_none(self, token: str, end: str) -> None:
        assert shown_end(Credential("a", SecretStr(token))) == end


class TestNaming:
    @given(st.text(max_size=100))
    def test_every_user_name_makes_an_alias_and_always_the_same(self, name: str) -> None:
        assert is_alias(alias_of(name))
        assert alias_of(name) == alias_of(name)

    @given(st.lists(st.text(max_size=70), unique=True, min_size=2, max_size=20))
    def test_no_two_users_share_an_alias(self, names: list[str]) -> None:
        assert len({alias_of(name) for name in names}) == len(names)

    def test_a_good_name_stays_and_another_is_marked(self) -> None:
        assert alias_of("anna.b-c_9") == "anna.b-c_9"
        assert alias_of("_anna").startswith("anna-")
        assert alias_of("Ä").startswith("friend-")

    @given(st.from_regex(r"[a-z0-9][a-z0-9.-]{0,63}", fullmatch=True), st.integers(0, 12))
    def test_a_free_alias_is_free_and_an_alias(self, wanted: str, n_taken: int) -> None:
        taken: set[str] = set()
        for _ in range(n_taken):
            taken.add(free(wanted, taken))
        assert len(taken) == n_taken
        assert all(is_alias(alias) and len(alias) <= MAX_LENGTH for alias in taken)


class TestStore:
    @pytest.mark.parametrize("umask", [0o000, 0o022, 0o277])
    def test_only_its_owner_can_read_it_whatever_the_umask(self, store: TokenStore, umask: int) -> None:
        before = os.umask(umask)
        try:
            add(store, ANNA)
            add(store, BERT)
        finally:
            os.umask(before)
        for file in store.path.parent.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0
        assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
        assert len(store.read().lent) == 2

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o666])
    def test_one_that_others_can_read_is_neither_read_nor_written(self, tmp_path: Path, mode: int) -> None:
        store = written(tmp_path / "tokens", ANNA, mode)
        for use in (store.read, store.prepare, lambda: add(store, BERT)):
            with pytest.raises(CredentialsError, match="chmod 600") as caught:
                use()
            assert caught.value.exit_code == 77
            assert ANNA not in str(caught.value)
        assert store.path.read_text() == ANNA

    def test_what_is_no_text_or_not_there_is_an_error_of_credentials(self, tmp_path: Path) -> None:
        (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
        (tmp_path / "bytes").chmod(0o600)
        for path in (tmp_path / "bytes", tmp_path / "none", tmp_path):
            with pytest.raises(CredentialsError):
                TokenStore(path).read()

    def test_folders_are_made_for_their_owner(self, tmp_path: Path) -> None:
        add(TokenStore(tmp_path / "config" / "raylike" / "tokens"), ANNA)
        assert stat.S_IMODE((tmp_path / "config" / "raylike").stat().st_mode) == 0o700

    def test_a_place_that_cannot_be_written_is_said_before_anything_is_lost(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(CannotWrite):
            TokenStore(tmp_path / "file" / "tokens").prepare()

    def test_a_disk_that_fills_leaves_the_old_one_and_nothing_beside(
        self, store: TokenStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        add(store, ANNA)
        before = store.path.read_text()

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(CannotWrite, match="No space left") as caught:
            add(store, BERT)
        assert BERT not in str(caught.value)
        assert store.path.read_text() == before
        assert sorted(file.name for file in store.path.parent.iterdir()) == [".tokens.lock", "tokens"]

    def test_a_link_stays_a_link(self, tmp_path: Path) -> None:
        written(tmp_path / "real", f"a={ANNA}\n")
        link = tmp_path / "link"
        link.symlink_to("real")
        add(TokenStore(link), BERT)
        assert link.is_symlink()
        assert BERT in (tmp_path / "real").read_text()

    def test_processes_at_once_lose_no_token(self, store: TokenStore) -> None:
        script = (
            "import sys; from pathlib import Path; from pydantic import SecretStr\n"
            "from raylike.tokens import keeping; from raylike.tokens.text import Scope\n"
            "from raylike.tokens.store import TokenStore\n"
            "for n in range(12):\n"
            "    token = SecretStr(f'{sys.argv[2]}.{n:030}')\n"
            "    keeping.add(TokenStore(Path(sys.argv[1])), token, Scope('mastodon'))\n"
        )
        running = [
            subprocess.Popen([sys.executable, "-c", script, str(store.path), str(k)], cwd=ROOT)
            for k in range(3)
        ]
        assert [process.wait(60) for process in running] == [0, 0, 0]
        lent = store.read().lent
        assert len({one.token for one in lent}) == 36
        assert len({one.alias for one in lent}) == 36

    @pytest.mark.parametrize(
        ("environ", "expected"),
        [
            ({"HOME": "/home/a"}, "/home/a/.config/raylike/tokens"),
            ({"HOME": "/home/a", "XDG_CONFIG_HOME": "/cfg"}, "/cfg/raylike/tokens"),
            ({"HOME": "/home/a", "XDG_CONFIG_HOME": "relative"}, "/home/a/.config/raylike/tokens"),
            ({"HOME": "/home/a", "XDG_CONFIG_HOME": ""}, "/home/a/.config/raylike/tokens"),
        ],
    )
    def test_the_default_place_follows_xdg(self, environ: dict[str, str], expected: str) -> None:
        assert default_path(environ) == Path(expected)


class TestKeeping:
    def test_a_token_is_added_once(self, store: TokenStore) -> None:
        assert add(store, ANNA, alias="anna").how == "new"
        again = add(store, ANNA, alias="other")
        assert (again.credential.alias, again.how) == ("anna", "known")
        assert len(store.read().lent) == 1

    def test_without_an_alias_it_becomes_the_next_friend(self, store: TokenStore) -> None:
        assert [add(store, token).credential.alias for token in (ANNA, BERT)] == ["friend-1", "friend-2"]
        assert add(store, CARLA, MASTODON).credential.alias == "friend-1"

    def test_one_that_is_known_at_another_server_is_still_new_here(self, store: TokenStore) -> None:
        add(store, CARLA, Scope("mastodon", SOCIAL))
        assert add(store, CARLA, Scope("mastodon", OTHER)).how == "new"
        assert len(store.read().good_for("mastodon", OTHER)) == 1

    def test_an_alias_is_one_token_s(self, store: TokenStore) -> None:
        add(store, ANNA, alias="anna")
        before = store.path.read_text()
        with pytest.raises(ConfigError, match="another token"):
            add(store, BERT, alias="anna")
        assert store.path.read_text() == before

    @pytest.mark.parametrize(("token", "alias"), [(ANNA, "no alias"), ("two words", None), ("", None)])
    def test_what_is_no_token_or_no_alias_is_refused(
        self, store: TokenStore, token: str, alias: str | None
    ) -> None:
        with pytest.raises(RaylikeError) as caught:
            add(store, token, alias=alias)
        assert caught.value.exit_code in (2, 77)
        assert not store.path.exists()

    def test_a_list_brings_what_it_can(self, store: TokenStore) -> None:
        add(store, ANNA, alias="anna")
        lines = ["# friends", f"annie={ANNA}", f"bert={BERT}", "two words", "", f"anna={CARLA}", "[mastodon]"]
        brought = keeping.bring(store, [*lines, CARLA], V1)
        assert [(kept.credential.alias, kept.how) for kept in brought.kept] == [
            ("anna", "known"),
            ("bert", "new"),
            ("friend-1", "new"),
        ]
        assert [number for number, _ in brought.bad] == [4, 6, 7]
        assert CARLA not in str(brought)

    def test_a_user_who_signs_in_again_renews_the_token(self, store: TokenStore) -> None:
        assert keeping.renew(store, SecretStr(ANNA), V1, "anna").how == "new"
        assert keeping.renew(store, SecretStr(BERT), V1, "anna").how == "renewed"
        assert keeping.renew(store, SecretStr(BERT), V1, "anna").how == "known"
        assert shown(store.read().good_for("instagram_v1")) == [("anna", BERT)]

    def test_somebody_who_happens_to_have_the_alias_keeps_the_token(self, tmp_path: Path) -> None:
        store = written(tmp_path / "tokens", f"anna={ANNA}\n")
        for token, how in ((BERT, "new"), (CARLA, "renewed")):
            kept = keeping.renew(store, SecretStr(token), V1, "anna")
            assert (kept.credential.alias, kept.how) == ("anna-2", how)
        assert shown(store.read().good_for("instagram_v1")) == [("anna", ANNA), ("anna-2", CARLA)]

    def test_nameless_users_are_friends(self, store: TokenStore) -> None:
        aliases = [keeping.renew(store, SecretStr(t), V1, None).credential.alias for t in (ANNA, BERT, ANNA)]
        assert aliases == ["friend-1", "friend-2", "friend-1"]

    def test_a_token_is_forgotten_under_all_its_aliases(self, tmp_path: Path) -> None:
        store = written(tmp_path / "tokens", f"# mine\na={ANNA}\nb={BERT}\n[mastodon]\nc={ANNA}\n")
        assert [lent.alias for lent in keeping.remove(store, "a")] == ["a", "c"]
        assert store.path.read_text() == f"# mine\nb={BERT}\n[mastodon]\n"

    def test_removing_another_leaves_a_bare_token_its_alias(self, tmp_path: Path) -> None:
        store = written(tmp_path / "tokens", f"a={ANNA}\n{BERT}\n")
        keeping.remove(store, "a")
        assert [lent.alias for lent in store.read().lent] == ["token-2"]

    def test_an_alias_of_two_networks_needs_one_named(self, tmp_path: Path) -> None:
        store = written(tmp_path / "tokens", f"[mastodon]\na={ANNA}\n[pixelfed]\na={BERT}\n")
        with pytest.raises(ConfigError, match="mastodon, pixelfed"):
            keeping.remove(store, "a")
        assert keeping.remove(store, "a", "pixelfed")[0].token == BERT
        with pytest.raises(ConfigError, match="no token has that alias"):
            keeping.remove(store, "a", "pixelfed")

    @pytest.mark.parametrize("address", ["social.example", "ftp://h", "https://h:port", "https://"])
    def test_a_server_is_an_address(self, address: str) -> None:
        with pytest.raises(ConfigError):
            keeping.scope_of("mastodon", address)


class TestLoad:
    def test_memory_goes_before_file_file_before_environment_and_that_before_the_default(
        self, tmp_path: Path
    ) -> None:
        named = written(tmp_path / "named", f"{ANNA}\n").path
        (tmp_path / "raylike").mkdir()
        written(tmp_path / "raylike" / "tokens", f"[instagram_v1]\nc={CARLA}\n")
        home = {"XDG_CONFIG_HOME": str(tmp_path)}
        environ = {"RAYLIKE_TOKENS": f"b={BERT},{ANNA}\n", **home}
        v1 = SourceSettings(name="instagram_v1")
        in_memory = v1.model_copy(update={"tokens": (SecretStr(BERT),), "token_store": named})
        in_file = v1.model_copy(update={"token_store": named})
        assert shown(tokens.load(in_memory, environ)) == [("token-1", BERT)]
        assert shown(tokens.load(in_file, environ)) == [("token-1", ANNA)]
        assert shown(tokens.load(v1, environ)) == [("b", BERT), ("token-2", ANNA)]
        assert shown(tokens.load(v1, home)) == [("c", CARLA)]

    def test_without_any_the_way_to_one_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(CredentialsError, match="RAYLIKE_TOKENS") as caught:
            tokens.load(SourceSettings(), {"HOME": str(tmp_path)})
        assert "raylike tokens add" in str(caught.value)

    def test_the_simulator_takes_instagram_s(self, tmp_path: Path) -> None:
        named = written(tmp_path / "t", f"[instagram_v1]\na={ANNA}\n[mastodon]\nb={BERT}\n").path
        assert shown(tokens.load(SourceSettings(token_store=named), {})) == [("a", ANNA)]

    @pytest.mark.parametrize("text", ["", "# nothing\n", f"[mastodon]\na={ANNA}\n"])
    def test_a_file_without_tokens_for_the_source_is_refused(self, tmp_path: Path, text: str) -> None:
        named = written(tmp_path / "t", text).path
        with pytest.raises(CredentialsError, match="no token for instagram_v1") as caught:
            tokens.load(SourceSettings(name="instagram_v1", token_store=named), {})
        assert ANNA not in str(caught.value)

    def test_tokens_of_another_server_are_not_taken_and_it_is_named(self, tmp_path: Path) -> None:
        named = written(tmp_path / "t", f"[mastodon {SOCIAL}]\nc={CARLA}\n").path
        here = SourceSettings(name="mastodon", token_store=named, base_url=SOCIAL)
        assert shown(tokens.load(here, {})) == [("c", CARLA)]
        with pytest.raises(CredentialsError, match=SOCIAL):
            tokens.load(here.model_copy(update={"base_url": OTHER}), {})


class TestChecking:
    @pytest.fixture
    def server(self) -> Iterator[V1Server]:
        with V1Server(limit=50) as running:
            yield running

    def checked(self, text: str, server: V1Server, *, allow_private: bool = True) -> list[Checked]:
        asked, _ = choose(parsed(text), "instagram_v1", server.base_url)
        return asyncio.run(check(asked, allow_private=allow_private, timeout_s=5))

    def test_each_token_costs_one_hit_and_its_allowance_is_told(self, server: V1Server) -> None:
        rows = self.checked(f"a={ANNA}\nb={BERT}\nagain={ANNA}", server)
        assert [(row.alias, row.state, row.limit, row.remaining) for row in rows] == [
            ("a", "ok", 50, 49),
            ("b", "ok", 50, 49),
        ]
        assert dict(server.hits_by_token) == {ANNA: 1, BERT: 1}

    def test_a_revoked_token_is_refused_and_a_used_up_one_limited(self, server: V1Server) -> None:
        server.limit = 0
        server.revoked = {ANNA}
        refused, limited = self.checked(f"a={ANNA}\nb={BERT}", server)
        assert (refused.state, limited.state, limited.remaining) == ("refused", "limited", 0)
        assert "invalid" in refused.reason

    def test_a_server_that_is_gone_is_unreachable(self) -> None:
        with V1Server() as server:
            pass
        (row,) = self.checked(f"a={ANNA}", server)
        assert row.state == "unreachable"
        assert "no connection" in row.reason

    def test_a_server_that_repeats_the_token_does_not_get_it_printed(self, server: V1Server) -> None:
        from aiohttp import web

        def tell(request: web.Request) -> web.Response:
            secret = request.query["access_token"]
            error = {"error_type": "OAuthAccessTokenException", "code": 400, "error_message": f"no {secret}"}
            return web.json_response({"meta": error}, status=400)

        server.answer = tell
        (row,) = self.checked(f"anna={TOKEN}", server)
        assert row.state == "refused"
        assert TOKEN not in repr(row)

    def test_private_addresses_have_to_be_allowed(self, server: V1Server) -> None:
        with pytest.raises(ServiceUnavailable, match="not a public address"):
            self.checked(f"a={ANNA}", server, allow_private=False)

    def test_a_token_is_asked_about_at_its_own_server(self) -> None:
        text = parsed(f"{ANNA}\n[mastodon {SOCIAL}]\nc={CARLA}\n[unheard_of]\nd={BERT}")
        asked, left_out = choose(text)
        assert [(one.lent.alias, one.network, one.base_url) for one in asked] == [("c", "mastodon", SOCIAL)]
        assert len(left_out) == 2
        assert "unheard_of" in left_out[1]
        everywhere, _ = choose(text, "mastodon", OTHER)
        assert [one.lent.alias for one in everywhere] == ["token-1"]

    def test_nothing_to_ask_about_is_an_error(self) -> None:
        with pytest.raises(CredentialsError, match="no token to check"):
            choose(parsed(ANNA))
        with pytest.raises(ConfigError, match="cannot be asked"):
            choose(parsed(ANNA), "unheard_of")
