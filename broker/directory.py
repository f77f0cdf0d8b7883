"""The key directory that belongs to a broker: where its logins are and what it is told."""

from broker.settings import BrokerSettings
from keydir.config import DirectorySettings, settings_of


def directory_of(settings: BrokerSettings, *broker_urls: str) -> DirectorySettings:
    """Return the settings of the directory on the same folder and database.

    Args:
        settings: The broker's; where they name no database, ``RATCHETMQ_KEYDIR_DATABASE_URL``
            does, else it is the file in the data folder.
        broker_urls: Where the directory reaches the broker, if it runs beside it.

    Raises:
        MisuseError: The database is neither a file nor on a PostgreSQL server.
    """
    return settings_of(
        data_dir=settings.data_dir,
        database_url=settings.database_url,
        policy=settings.policy,
        broker_urls=broker_urls or None,
    )
