"""The loops between store and network: outbox, inbox, directory, upkeep."""
