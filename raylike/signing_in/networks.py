"""Where each network signs people in, what it is asked for, and how friends take a token back.

Knows addresses, as a table. Asks nothing of anybody.

Sources: facebookarchive/python-instagram (oauth2.py) for Instagram v1; developers.facebook.com
(facebook-login: manual flow, access tokens; instagram-platform: business_discovery) for Instagram Graph;
docs.joinmastodon.org (methods/apps, methods/oauth, methods/accounts), thephpleague/oauth2-server
(AuthCodeGrant), which Pixelfed uses.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from yarl import URL

from raylike.errors import ConfigError
from raylike.tokens.text import origin

GRAPH_VERSION = "v25.0"
GRAPH_API_HOST, GRAPH_DIALOG_HOST = "graph.facebook.com", "www.facebook.com"

APP_PASSWORDS = "make one at Settings, Privacy and security, App passwords; then `raylike tokens add\
 --provider bluesky` takes it as handle:app-password"


@dataclass(frozen=True)
class SignIn:
    """One network's way of signing people in.

    Attributes
    ----------
    provider : as in a token store
    title : whose sign-in it is, as friends know it
    place : where the photos are
    withdraw : where friends take the permission back
    authorize : where friends are sent
    token : where a code becomes a token
    scope : what is asked for, in the network's own words
    proves : whether the server checks that who brings the code is who asked for it (PKCE, RFC 7636)
    asks_by_get : the token is asked for with GET, as Facebook documents it; RFC 6749 says POST
    extends : the token is short-lived until it is exchanged for one that lasts 60 days
    who_am_i : whose token it is, asked with the token; None where the answer with the token tells it
    register : where an application registers itself; None where its owner does that by hand
    server : what tokens are bound to; empty where they are good for the whole network
    """

    provider: str
    title: str
    place: str
    withdraw: str
    authorize: URL
    token: URL
    scope: tuple[str, ...]
    proves: bool = False
    asks_by_get: bool = False
    extends: bool = False
    who_am_i: URL | None = None
    register: URL | None = None
    server: str = ""

    def __post_init__(self) -> None:
        for address in (self.authorize, self.token):
            if address.scheme != "https" and not is_loopback(address.host or ""):
                raise ConfigError(
                    f"{address.origin()} is not https: the secret would travel open for all to read",
                    "--base-url",
                    "only an address of this machine may be http",
                )


def sign_in(provider: str, base_url: str = "") -> SignIn:
    """How a network signs people in.

    Parameters
    ----------
    base_url : of its API, as for collecting; empty: the network's own

    Raises
    ------
    ConfigError : if it does not, if it is many servers and none is named, if the address is not https
    """
    try:
        base = URL(base_url.rstrip("/"))
        valid = not base_url or (base.scheme in ("http", "https") and bool(base.host))
    except ValueError:
        valid = False
    if not valid:
        raise ConfigError("is no http(s) address", "--base-url")
    match provider:
        case "instagram_v1":
            return _instagram_v1(base.origin() if base_url else URL("https://api.instagram.com"))
        case "instagram_graph":
            return _instagram_graph(base if base_url else URL(f"https://{GRAPH_API_HOST}/{GRAPH_VERSION}"))
        case "mastodon" | "pixelfed" if not base_url:
            raise ConfigError(
                f"{provider} is many servers, and none was named",
                "--base-url",
                "such as https://mastodon.social",
            )
        case "mastodon":
            return _like_mastodon(provider, "Mastodon", "Preferences, Account, Authorized apps", base)
        case "pixelfed":
            return _like_mastodon(provider, "Pixelfed", "Settings, Applications", base)
        case "bluesky":
            raise ConfigError(
                "Bluesky has app passwords instead of signing in at a page", "--provider", APP_PASSWORDS
            )
    raise ConfigError(f"{provider} is no network that people sign in to", "--provider")


def is_loopback(host: str) -> bool:
    """Whether a host can be nothing but this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _instagram_v1(root: URL) -> SignIn:
    return SignIn(
        "instagram_v1",
        title="Instagram",
        place="Instagram",
        withdraw="Settings, Apps and websites",
        authorize=root / "oauth/authorize",
        token=root / "oauth/access_token",
        scope=("basic",),
    )


def _instagram_graph(base: URL) -> SignIn:
    dialog = base.with_host(GRAPH_DIALOG_HOST) if base.host == GRAPH_API_HOST else base
    return SignIn(
        "instagram_graph",
        title="Facebook",
        place="Instagram",
        withdraw="Settings, Business integrations",
        authorize=dialog / "dialog/oauth",
        token=base / "oauth/access_token",
        # The last two are business_discovery's; the pages lead to the Instagram account.
        scope=("instagram_basic", "pages_show_list", "pages_read_engagement", "instagram_manage_insights"),
        asks_by_get=True,
        extends=True,
        who_am_i=(base / "me/accounts").with_query(fields="instagram_business_account{username}"),
    )


def _like_mastodon(provider: str, title: str, withdraw: str, base: URL) -> SignIn:
    return SignIn(
        provider,
        title=title,
        place=base.host or title,
        withdraw=withdraw,
        authorize=base / "oauth/authorize",
        token=base / "oauth/token",
        scope=("read",),
        proves=True,
        who_am_i=base / "api/v1/accounts/verify_credentials",
        register=base / "api/v1/apps",
        server=origin(str(base)),
    )
