"""The last look before a start, and the hold on the folder; what is refused leaves no folder."""

from collections.abc import Iterator
from contextlib import contextmanager

from broker.listening import require_free_ports
from broker.lock import hold, is_known
from broker.settings import BrokerSettings
from keydir.policy import read_policy


@contextmanager
def hold_for_start(settings: BrokerSettings) -> Iterator[None]:
    """Be the one server of the data folder, with ports that are free, until the context ends.

    Raises:
        PolicyError: The policy is not valid; nothing was made.
        OperationalError: A port or the folder cannot be used, or another server has it; no
            folder was made.
    """
    if settings.policy is not None:
        read_policy(settings.policy)
    known = is_known(settings.data_dir)
    if not known:
        require_free_ports(settings)
    with hold(settings.data_dir):
        if known:  # who else runs there says more than its ports do
            require_free_ports(settings)
        yield
