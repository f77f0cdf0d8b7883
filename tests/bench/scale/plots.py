"""The four plots of a run; one without rows is left as it was."""

from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench.scale.deployments import TITLES
from tests.bench.scale.directory import BundleRow
from tests.bench.scale.plot import Chart, draw
from tests.bench.scale.travel import TravelRow

DATABASES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


def write_plots(
    folder: Path, travel: Sequence[TravelRow], bundles: Sequence[BundleRow]
) -> list[Path]:
    """Write what there are rows for, and return the files."""
    charts: dict[str, Chart] = {}
    if travel:
        charts["messages-by-clients"] = _by_clients(
            travel, "Messages end to end, highest rate", "messages/s", lambda row: row.rate
        )
        charts["p99-by-clients"] = _by_clients(
            travel,
            f"From send to hand-over at {travel[0].paced:.0f} messages/s",
            "p99, ms (logarithmic)",
            lambda row: row.p99,
            logarithmic=True,
        )
    if bundles:
        charts["bundles-by-replicas"] = _by_replicas(bundles)
        charts["bundle-p99-by-users"] = _by_users(bundles)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, chart in charts.items():
        files.append(folder / f"{name}.svg")
        files[-1].write_text(draw(chart))
    return files


def _by_clients(
    rows: Sequence[TravelRow],
    title: str,
    unit: str,
    value: Callable[[TravelRow], float],
    *,
    logarithmic: bool = False,
) -> Chart:
    clients = sorted({row.clients for row in rows})
    found = {(row.broker, row.clients): value(row) for row in rows}
    series = {
        TITLES[name]: [found.get((name, count)) for count in clients]
        for name in TITLES
        if any(row.broker == name for row in rows)
    }
    places = [f"{count:,}" for count in clients]
    return Chart(title, "clients", unit, places, series, logarithmic)


def _by_replicas(rows: Sequence[BundleRow]) -> Chart:
    replicas = sorted({row.replicas for row in rows})
    found = {(row.database, row.users, row.replicas): row.rate for row in rows}
    kinds = sorted({(row.database, row.users) for row in rows}, reverse=True)
    series = {
        f"{DATABASES[kind]}, {_short(users)}": [found.get((kind, users, n)) for n in replicas]
        for kind, users in kinds
    }
    places = [str(count) for count in replicas]
    title = "Prekey bundles, 64 requests under way"
    return Chart(title, "directory processes (replicas)", "bundles/s", places, series)


def _by_users(rows: Sequence[BundleRow]) -> Chart:
    users = sorted({row.users for row in rows})
    fewest = min(row.replicas for row in rows)
    found = {(row.database, row.users): row.p99 for row in rows if row.replicas == fewest}
    series = {
        title: [found.get((kind, count)) for count in users]
        for kind, title in DATABASES.items()
        if any(row.database == kind for row in rows)
    }
    places = [f"{count:,}" for count in users]
    title = f"One bundle at a time, {fewest} replica{'s' if fewest > 1 else ''}"
    return Chart(title, "users in the database", "p99, ms", places, series)


def _short(users: int) -> str:
    return f"{users // 1_000_000} M users" if users >= 1_000_000 else f"{users:,} users"
