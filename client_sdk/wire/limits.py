"""Every size and count that bounds what a peer can send; each is tested at n and n + 1."""

from typing import Final

KIB: Final = 1024

MAX_PACKET_BYTES: Final = 128 * KIB
"""One MQTT packet, header included: what every supported broker is configured to take."""

MAX_ENVELOPE_BYTES: Final = 96 * KIB
"""One encoded envelope: the largest padded content, a handshake header and room to spare."""

MAX_PADDED_CONTENT_BYTES: Final = 64 * KIB
"""The largest padding bucket."""

PADDING_BUCKETS: Final = (256, 1 * KIB, 4 * KIB, 16 * KIB, MAX_PADDED_CONTENT_BYTES)
"""Sizes that padded content can have, so that a size tells little about a text."""

MAX_TEXT_BYTES: Final = 60 * KIB
"""One text in UTF-8, or one data body: leaves room for the other fields of content."""

MAX_HEADER_BYTES: Final = 8 * KIB
"""One envelope header: a handshake (ML-KEM-1024 ciphertext included) and a ratchet header."""

MAX_DIRECTORY_BYTES: Final = MAX_PACKET_BYTES - KIB
"""One directory request or reply: a packet less its topic."""

MAX_INVITATION_CHARACTERS: Final = 16 * KIB
"""One invitation line; a whole one has about 2,200 characters."""

MAX_CONTENT_TYPE_BYTES: Final = 128
"""The media type of a data body."""

MAX_DISPLAY_NAME_CHARACTERS: Final = 64
"""A contact's shown name or role."""

MAX_RECEIPT_IDS: Final = 100
"""Message ids in one receipt."""

MAX_RESEND_IDS: Final = 100
"""Envelopes that one resend request names."""

MAX_LAST_SEEN: Final = 32
"""Streams of others named in one content."""

MAX_DEVICES: Final = 16
"""Active devices of one user."""

MAX_DEVICE_NUMBER: Final = 127
"""Device numbers are never used twice; after the last one the account is full."""

MAX_SUPERSEDED: Final = 32
"""Account keys that a user may have put aside: one each time that a manager device is removed."""

MAX_EARLIER_LISTS: Final = 16
"""Earlier device lists in one answer: with the newest one 17 of under 6 KiB, which fit a packet."""

MAX_PREKEY_BATCH: Final = 40
"""One-time prekeys of each kind in one upload: 40 signed ML-KEM-1024 keys fill half a packet."""

MAX_COUNTER: Final = 2**63 - 1
"""The largest integer in any field: what a signed 64-bit column holds."""
