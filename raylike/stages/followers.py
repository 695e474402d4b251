"""Stage followers: how many followers the account of every post has.

Reads posts; writes users, a row an account. Token actors (`actors/tokens.py`), one a token where these
are not too many, look users up; the driver hands out the work (`actors/dispatch.py`) and commits what came
back every few seconds, so a killed run repeats what was under way and not yet committed, nothing else.

Private and deleted accounts are rows with their status. So are look-ups that failed after every
attempt (`failed`): running again leaves them alone, `--force followers` asks for everybody anew.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from operator import attrgetter

import pyarrow as pa
import pyarrow.compute as pc

from actors.dispatch import TokenPool
from actors.packing import describe, plan_processes
from actors.slots import Answer
from actors.tokens import TokenOptions
from raylike import cluster, source, tokens
from raylike.errors import InputDataError, ServiceUnavailable
from raylike.forecast import forecast
from raylike.providers import Connection
from raylike.providers.base import FAILED, OK, User
from raylike.sizing import TOKEN_CPUS
from raylike.stage import StageContext, StageReport
from raylike.tables import USERS

COMMIT_EVERY_S = 5.0
COMMIT_EVERY_ROWS = 5000

FAILURES_IN_A_ROW = 50
"""So many users given up, each after several attempts and none answered between: the server is down."""


def run(context: StageContext) -> StageReport:
    """Write users; the report's `skipped` counts private and gone accounts, `failed` those given up.

    Raises
    ------
    InputDataError : if there are no posts
    CredentialsError : if the network accepts none of the tokens any more
    ServiceUnavailable : if it does not answer
    TryAgainLater : if all tokens are used up and `collect.wait` is off
    """
    everybody = pc.unique(context.workspace.read("posts", ["user_id"]).column("user_id"))
    if not len(everybody):
        raise InputDataError(
            "there are no posts whose accounts could be looked up", "posts", "run collect first"
        )
    everybody = everybody.filter(pc.not_equal(everybody, ""))
    if not len(everybody):
        raise InputDataError(
            "nobody says who posted these photos, so likes per follower cannot be had",
            context.settings.source.name,
            "name accounts to read with --accounts FILE: a hashtag's posts come without their owners",
        )
    network = source.network(context.settings)
    context.progress.expect(len(everybody), "users")
    if network.followers_embedded and not context.settings.collect.look_up:
        notes = _take_embedded(context)
    else:
        missing = _missing(context, everybody)
        context.progress.advance(len(everybody) - len(missing))
        notes = _look_up(context, missing, network.batch_size) if len(missing) else ()
    context.workspace.seal("users", context.commit)
    return _report(context, len(everybody), notes)


def _take_embedded(context: StageContext) -> tuple[str, ...]:
    """Write users from their latest posts, which brought their followers with them."""
    columns = ["user_id", "collected_at", "followers", "following", "media_count"]
    posts = context.workspace.read("posts", columns).filter(pc.field("user_id") != "")
    latest = (
        posts.sort_by([("user_id", "ascending"), ("collected_at", "ascending")])
        .group_by("user_id", use_threads=False)
        .aggregate([(name, "last") for name in columns[1:]])
    )
    known = pc.is_valid(latest["followers_last"])
    users = pa.table(
        {
            "user_id": latest["user_id"],
            "followers": latest["followers_last"],
            "following": latest["following_last"],
            "media_count": latest["media_count_last"],
            "looked_up_at": latest["collected_at_last"],
            "status": pc.if_else(known, OK, FAILED),
        }
    )
    context.workspace.write("users", users, context.commit.partial())
    context.progress.advance(users.num_rows)
    return ("followers came with the posts: no hit",)


def _look_up(context: StageContext, missing: pa.Array, batch_size: int) -> tuple[str, ...]:
    settings = context.settings
    credentials = tokens.load(settings.source)
    endpoint = source.endpoint(settings)
    n_tokens = len(credentials)
    wanted = settings.collect.tokens_per_actor
    processes = plan_processes(n_tokens, cluster.cpus(), wanted, cluster.nodes())
    expected = forecast(
        len(missing), batch_size, n_tokens, source.limits(settings), settings.collect.in_flight
    )
    packed = describe(n_tokens, processes)
    context.progress.note(f"{len(missing):,} users to look up: {expected}; tokens {packed}")
    options = TokenOptions(
        in_flight=settings.collect.in_flight,
        processes=processes,
        items_per_hit=batch_size,
        stage="followers",
        cpus=TOKEN_CPUS,
    )
    rows = _Rows(context)
    connect = partial(Connection, endpoint)
    with source.explained(settings), TokenPool(credentials, connect, options, context.progress.note) as pool:
        try:
            for answer in pool.ask(
                _texts(missing), len(missing), wait=settings.collect.wait, before_rest=rows.commit
            ):
                rows.add(answer)
            rows.finish()
        finally:
            rows.commit()
    return rows.notes()


def _missing(context: StageContext, everybody: pa.Array) -> pa.Array:
    """The accounts that have no row yet."""
    if not context.resume:
        return everybody
    known = context.workspace.read("users", ["user_id"]).column("user_id")
    return everybody.filter(pc.invert(pc.is_in(everybody, value_set=known.combine_chunks())))


def _texts(array: pa.Array, chunk: int = 10_000) -> Iterator[str]:
    """The strings of an array, some at a time: a million Python strings are not held at once."""
    for start in range(0, len(array), chunk):
        yield from array.slice(start, chunk).to_pylist()


class _Rows:
    """Rows on their way into the table, committed every few seconds."""

    def __init__(self, context: StageContext) -> None:
        self._context = context
        self._users: list[User] = []
        self._moments: list[datetime] = []
        self._given_up: list[tuple[str, str]] = []
        self._causes: Counter[str] = Counter()
        self._answered = 0
        self._hits = 0
        self._replaces = not context.resume
        self._committed_at = time.monotonic()

    def add(self, answer: Answer) -> None:
        """Take an answer; commit if it is time.

        Users given up become rows when others are answered after them: that a server is down is no
        property of its users.
        """
        self._hits += answer.hits
        self._given_up += answer.failed
        if answer.results:
            self._answered += len(answer.results)
            self._take(answer.results)
            self._take_given_up()
        elif len(self._given_up) >= FAILURES_IN_A_ROW:
            raise self._silence()
        late = time.monotonic() - self._committed_at >= COMMIT_EVERY_S
        if late or len(self._users) >= COMMIT_EVERY_ROWS:
            self.commit()

    def finish(self) -> None:
        """There are no more answers. Raises `ServiceUnavailable` if there was none at all."""
        if self._given_up and not self._answered:
            raise self._silence()
        self._take_given_up()

    def commit(self) -> None:
        """Write the rows that have come in."""
        if self._users:
            write = self._context.workspace.write if self._replaces else self._context.workspace.append
            write("users", _table(self._users, self._moments), self._context.commit.partial())
            self._replaces = False
            self._users, self._moments = [], []
        self._committed_at = time.monotonic()

    def notes(self) -> tuple[str, ...]:
        """What it took, and why users were given up."""
        causes = tuple(f"given up: {n} users, {cause}" for cause, n in self._causes.most_common(5))
        return (f"{self._hits} hits for {self._answered} users", *causes)

    def _take_given_up(self) -> None:
        self._causes.update(cause for _, cause in self._given_up)
        self._take([User(user_id, FAILED) for user_id, _ in self._given_up])
        self._given_up = []

    def _take(self, users: Sequence[User]) -> None:
        self._users += users
        self._moments += [datetime.now(UTC)] * len(users)
        failed = sum(user.status == FAILED for user in users)
        self._context.progress.advance(len(users), **({"failed": failed} if failed else {}))

    def _silence(self) -> ServiceUnavailable:
        cause = Counter(cause for _, cause in self._given_up).most_common(1)[0][0]
        source = self._context.settings.source
        return ServiceUnavailable(
            f"does not answer: {cause}, {len(self._given_up)} users in a row",
            source.base_url or source.name,
            "run the same command again later: it goes on where it was",
        )


def _table(users: Sequence[User], looked_up_at: Sequence[datetime]) -> pa.Table:
    """Rows of the table `users`."""
    columns = [
        looked_up_at if name == "looked_up_at" else list(map(attrgetter(name), users))
        for name in USERS.schema.names
    ]
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, USERS.schema, strict=True)],
        schema=USERS.schema,
    )


def _report(context: StageContext, rows_in: int, notes: tuple[str, ...]) -> StageReport:
    """Counts of the table as it now stands, whichever runs wrote it."""
    statuses = context.workspace.read("users", ["status"]).column("status")
    counts = {entry["values"]: entry["counts"] for entry in pc.value_counts(statuses).to_pylist()}
    failed = counts.pop(FAILED, 0)
    rows_out = sum(counts.values())
    counts.pop(OK, None)
    return StageReport(
        rows_in, rows_out, dict(sorted(counts.items())), {"look-up": failed} if failed else {}, notes
    )
