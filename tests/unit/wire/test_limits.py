"""Every constant of ``wire.limits``: accepted at n, refused at n + 1."""

from collections.abc import Callable
from typing import Any

import pytest

from client_sdk.wire import (
    bundle,
    content,
    directory,
    enrollment,
    envelope,
    healing,
    ids,
    invitation,
    limits,
    linking,
    manager_keys,
    topics,
)
from client_sdk.wire.codec import encode
from client_sdk.wire.errors import (
    InvalidInvitationError,
    InvalidNameError,
    MalformedError,
    MessageTooLongError,
    ProtocolError,
    TooLargeError,
)
from client_sdk.wire.ids import EnvelopeId, MessageId, RequestId, random_id
from client_sdk.wire.notice import MAX_NOTICE_BYTES, NOTICE
from tests.unit.wire import samples
from tests.unit.wire.samples import fill

MESSAGE_IDS = [MessageId(number.to_bytes(16)) for number in range(limits.MAX_RECEIPT_IDS + 1)]
SEEN = content.SeenStream(samples.BOB_127, samples.CONTENT_SAMPLE.stream_id, limits.MAX_COUNTER)


def _receipt(count: int) -> bytes:
    return encode(content.ReceiptBody(tuple(MESSAGE_IDS[:count])))


def _resend_request(count: int) -> bytes:
    lost = healing.LostEnvelope(EnvelopeId(samples.ID), bytes(8))
    return encode(healing.ResendRequest((lost,) * count, (bytes(8),)))


def _lost_sessions(count: int) -> bytes:
    lost = healing.LostEnvelope(EnvelopeId(samples.ID), bytes(8))
    return encode(healing.ResendRequest((lost,), (bytes(8),) * count))


def _resent(count: int) -> bytes:
    return encode(healing.Resent((EnvelopeId(samples.ID),) * count))


def _last_seen(count: int) -> bytes:
    return encode(samples.CONTENT_SAMPLE._replace(last_seen=(SEEN,) * count))


def _devices(count: int) -> bytes:
    return encode(samples.LIST._replace(devices=(samples.ENTRY,) * count))


def _superseded(count: int) -> bytes:
    return encode(samples.LIST._replace(superseded=samples.LIST.superseded * count))


def _earlier(count: int) -> bytes:
    reply = directory.DeviceListReply(samples.LIST, directory.Relation.CONTACT, "", "")
    return encode(reply._replace(earlier=(samples.LIST,) * count))


def _grant(size: int) -> bytes:
    return encode(samples.ENROLLED._replace(grant=bytes(size)))


def _device_number(number: int) -> bytes:
    return encode(samples.LIST._replace(devices=(samples.ENTRY._replace(number=number),)))  # type: ignore[arg-type]


def _one_time_batch(count: int) -> bytes:
    return encode(directory.PublishPrekeys(None, None, (samples.ONE_TIME,) * count, ()))


def _kem_batch(count: int) -> bytes:
    return encode(
        directory.PublishPrekeys(None, None, (samples.ONE_TIME,) * 40, (samples.KEM,) * count)
    )


def _name(count: int) -> bytes:
    return encode(
        directory.ContactsReply((directory.Contact(samples.ALICE, "", "ü" * count),), False)
    )


def _role(count: int) -> bytes:
    return encode(
        directory.ContactsReply((directory.Contact(samples.ALICE, "ü" * count, ""),), False)
    )


def _contacts(count: int) -> bytes:
    return encode(
        directory.ContactsReply((directory.Contact(samples.ALICE, "", ""),) * count, True)
    )


def _counter(number: int) -> bytes:
    return encode(directory.CounterReply(number))


def _envelope(header: int, ciphertext: int) -> bytes:
    return encode(envelope.Envelope(1, 1, 2, bytes(header), bytes(ciphertext)))


def _pq_message(size: int) -> bytes:
    return encode(samples.RATCHET._replace(pq_message=bytes(size)))


def _message_number(number: int) -> bytes:
    return encode(samples.RATCHET._replace(message_number=number, previous_chain_length=number))


def _text(characters: str) -> bytes:
    return encode(content.MessageBody(characters, None, None, None, None))


def _data(size: int) -> bytes:
    return encode(content.MessageBody(None, bytes(size), None, None, None))


def _content_type(size: int) -> bytes:
    return encode(content.MessageBody(None, b"", "t" * size, None, None))


LARGEST_CIPHERTEXT = limits.MAX_PADDED_CONTENT_BYTES + envelope.TAG_BYTES
SMALLEST_CIPHERTEXT = limits.PADDING_BUCKETS[0] + envelope.TAG_BYTES

Decode = Callable[[bytes], Any]
RECORD_LIMITS: dict[str, tuple[Decode, Callable[[int], bytes], int]] = {
    "MAX_RECEIPT_IDS": (content.RECEIPT_BODY.decode, _receipt, limits.MAX_RECEIPT_IDS),
    "MAX_RESEND_IDS": (healing.RESEND_REQUEST.decode, _resend_request, limits.MAX_RESEND_IDS),
    "MAX_RESEND_IDS sessions": (
        healing.RESEND_REQUEST.decode,
        _lost_sessions,
        limits.MAX_RESEND_IDS,
    ),
    "MAX_RESEND_IDS answered": (healing.RESENT.decode, _resent, limits.MAX_RESEND_IDS),
    "MAX_LAST_SEEN": (content.CONTENT.decode, _last_seen, limits.MAX_LAST_SEEN),
    "MAX_DEVICES": (bundle.DEVICE_LIST.decode, _devices, limits.MAX_DEVICES),
    "MAX_SUPERSEDED": (bundle.DEVICE_LIST.decode, _superseded, limits.MAX_SUPERSEDED),
    "MAX_EARLIER_LISTS": (
        directory.DEVICE_LIST_REPLY.decode,
        _earlier,
        limits.MAX_EARLIER_LISTS,
    ),
    "MAX_GRANT_BYTES": (enrollment.ENROLL_REPLY.decode, _grant, linking.MAX_GRANT_BYTES),
    "MAX_DEVICE_NUMBER": (bundle.DEVICE_LIST.decode, _device_number, limits.MAX_DEVICE_NUMBER),
    "MAX_DEVICE_NUMBER in an address": (
        directory.FETCH_BUNDLE.decode,
        lambda number: encode((f"alice-{number}",)),
        limits.MAX_DEVICE_NUMBER,
    ),
    "MAX_PREKEY_BATCH one-time": (
        directory.PUBLISH_PREKEYS.decode,
        _one_time_batch,
        limits.MAX_PREKEY_BATCH,
    ),
    "MAX_PREKEY_BATCH KEM": (directory.PUBLISH_PREKEYS.decode, _kem_batch, limits.MAX_PREKEY_BATCH),
    "MAX_DISPLAY_NAME_CHARACTERS name": (
        directory.CONTACTS_REPLY.decode,
        _name,
        limits.MAX_DISPLAY_NAME_CHARACTERS,
    ),
    "MAX_DISPLAY_NAME_CHARACTERS role": (
        directory.CONTACTS_REPLY.decode,
        _role,
        limits.MAX_DISPLAY_NAME_CHARACTERS,
    ),
    "CONTACTS_PAGE": (directory.CONTACTS_REPLY.decode, _contacts, directory.CONTACTS_PAGE),
    "MAX_COUNTER": (directory.COUNTER_REPLY.decode, _counter, limits.MAX_COUNTER),
    "MAX_HEADER_BYTES": (
        envelope.ENVELOPE.decode,
        lambda size: _envelope(size, SMALLEST_CIPHERTEXT),
        limits.MAX_HEADER_BYTES,
    ),
    "MAX_PADDED_CONTENT_BYTES": (
        envelope.ENVELOPE.decode,
        lambda size: _envelope(0, size + envelope.TAG_BYTES),
        limits.MAX_PADDED_CONTENT_BYTES,
    ),
    "MAX_PQ_MESSAGE_BYTES": (
        envelope.RATCHET_HEADER.decode,
        _pq_message,
        envelope.MAX_PQ_MESSAGE_BYTES,
    ),
    "MAX_MESSAGE_NUMBER": (
        envelope.RATCHET_HEADER.decode,
        _message_number,
        envelope.MAX_MESSAGE_NUMBER,
    ),
    "MAX_TEXT_BYTES text": (
        content.decode_message_body,
        lambda size: _text("t" * size),
        limits.MAX_TEXT_BYTES,
    ),
    "MAX_TEXT_BYTES data": (content.decode_message_body, _data, limits.MAX_TEXT_BYTES),
    "MAX_CONTENT_TYPE_BYTES": (
        content.decode_message_body,
        _content_type,
        limits.MAX_CONTENT_TYPE_BYTES,
    ),
}


@pytest.mark.parametrize("name", RECORD_LIMITS)
def test_a_record_is_accepted_at_its_limit_and_refused_above(name: str) -> None:
    decode, make, limit = RECORD_LIMITS[name]
    assert encode(decode(make(limit))) == make(limit)
    with pytest.raises(ProtocolError):
        decode(make(limit + 1))


def test_every_constant_of_limits_stands_in_a_test_of_this_file() -> None:
    source = __import__("pathlib").Path(__file__).read_text()
    names = [name for name in vars(limits) if name.isupper() and name != "KIB"]
    assert names
    assert [name for name in names if f"limits.{name}" not in source] == []


CODEC_LIMITS: dict[str, tuple[Decode, int]] = {
    "envelope": (envelope.ENVELOPE.decode, limits.MAX_ENVELOPE_BYTES),
    "ratchet header": (envelope.RATCHET_HEADER.decode, limits.MAX_HEADER_BYTES),
    "prekey header": (envelope.PREKEY_HEADER.decode, limits.MAX_HEADER_BYTES),
    "content": (content.CONTENT.decode, limits.MAX_PADDED_CONTENT_BYTES),
    "message body": (content.MESSAGE_BODY.decode, limits.MAX_PADDED_CONTENT_BYTES),
    "receipt body": (content.RECEIPT_BODY.decode, limits.MAX_PADDED_CONTENT_BYTES),
    **{
        name: (samples.RECORDS[name][0].decode, limits.MAX_DIRECTORY_BYTES)
        for name in list(samples.RECORDS)[6:]
    },
    "resend request": (healing.RESEND_REQUEST.decode, limits.MAX_PADDED_CONTENT_BYTES),
    "resent": (healing.RESENT.decode, limits.MAX_PADDED_CONTENT_BYTES),
    "account key wanted": (
        manager_keys.ACCOUNT_KEY_WANTED.decode,
        limits.MAX_PADDED_CONTENT_BYTES,
    ),
    "account key given": (manager_keys.ACCOUNT_KEY_GIVEN.decode, limits.MAX_PADDED_CONTENT_BYTES),
    "copy body": (content.COPY_BODY.decode, limits.MAX_PADDED_CONTENT_BYTES),
    "notice": (NOTICE.decode, MAX_NOTICE_BYTES),
    "opened grant": (linking.OPENED_GRANT.decode, linking.MAX_GRANT_BYTES),
}


def test_every_kind_has_its_size_limit_tested() -> None:
    assert set(CODEC_LIMITS) == set(samples.RECORDS)


@pytest.mark.parametrize("name", CODEC_LIMITS)
def test_bytes_are_parsed_at_the_size_limit_and_not_above(name: str) -> None:
    decode, limit = CODEC_LIMITS[name]
    with pytest.raises(MalformedError):
        decode(bytes(limit))
    with pytest.raises(TooLargeError):
        decode(bytes(limit + 1))


def test_a_text_may_have_60_kib_in_utf8_whatever_its_characters() -> None:
    at_limit = "ä" * (limits.MAX_TEXT_BYTES // 2)
    body = content.MessageBody(at_limit, None, None, None, None)
    assert content.decode_message_body(content.encode_message_body(body)) == body
    with pytest.raises(MessageTooLongError, match="nothing was queued"):
        content.encode_message_body(body._replace(text=at_limit + "a"))
    with pytest.raises(MalformedError):
        content.decode_message_body(_text(at_limit + "a"))


def test_data_and_media_type_over_their_limits_are_refused_before_sending() -> None:
    body = content.MessageBody(None, bytes(limits.MAX_TEXT_BYTES), None, None, None)
    assert content.encode_message_body(body)
    with pytest.raises(MessageTooLongError):
        content.encode_message_body(body._replace(data=bytes(limits.MAX_TEXT_BYTES + 1)))
    kind = "ä" * (limits.MAX_CONTENT_TYPE_BYTES // 2)
    assert content.encode_message_body(body._replace(content_type=kind))
    with pytest.raises(MessageTooLongError):
        content.encode_message_body(body._replace(content_type=kind + "a"))


def test_a_ciphertext_is_never_shorter_than_the_smallest_bucket() -> None:
    assert envelope.ENVELOPE.decode(_envelope(0, SMALLEST_CIPHERTEXT))
    with pytest.raises(MalformedError):
        envelope.ENVELOPE.decode(_envelope(0, SMALLEST_CIPHERTEXT - 1))


def test_an_invitation_line_over_its_limit_is_not_even_decoded() -> None:
    at_limit = invitation.INVITATION_PREFIX.ljust(limits.MAX_INVITATION_CHARACTERS, "A")
    with pytest.raises(InvalidInvitationError, match="damaged"):
        invitation.parse_invitation(at_limit)
    with pytest.raises(InvalidInvitationError, match="not an invitation"):
        invitation.parse_invitation(at_limit + "A")


def test_an_address_ends_at_the_last_device_number() -> None:
    assert ids.split_address(f"a-{limits.MAX_DEVICE_NUMBER}") == ("a", limits.MAX_DEVICE_NUMBER)
    with pytest.raises(InvalidNameError):
        ids.split_address(f"a-{limits.MAX_DEVICE_NUMBER + 1}")


def test_padding_ends_at_the_largest_bucket() -> None:
    largest = limits.PADDING_BUCKETS[-1]
    assert largest == limits.MAX_PADDED_CONTENT_BYTES
    assert len(content.pad(bytes(largest - 1))) == largest
    with pytest.raises(MessageTooLongError, match="nothing was queued"):
        content.pad(bytes(largest))


def test_the_largest_message_with_everything_around_it_fits_into_one_packet() -> None:
    body = content.MessageBody(
        None,
        bytes(limits.MAX_TEXT_BYTES),
        "t" * limits.MAX_CONTENT_TYPE_BYTES,
        MessageId(fill(16, 1)),
        limits.MAX_COUNTER,
    )
    seen = content.SeenStream(
        ids.DeviceAddress("u" * 32 + "-127"), SEEN.stream_id, limits.MAX_COUNTER
    )
    mark = content.ListMark(limits.MAX_COUNTER, fill(16, 1))
    sealed = samples.CONTENT_SAMPLE._replace(
        sequence=limits.MAX_COUNTER,
        last_seen=(seen,) * limits.MAX_LAST_SEEN,
        body=content.encode_message_body(body),
        sender_list=mark,
        recipient_list=mark,
    )
    padded = content.pad(encode(sealed))
    published = _envelope(limits.MAX_HEADER_BYTES, len(padded) + envelope.TAG_BYTES)
    topic = topics.inbox(seen.device, seen.device, EnvelopeId(random_id(bytes(16))))
    assert len(published) <= limits.MAX_ENVELOPE_BYTES
    assert len(published) + len(topic) + 16 <= limits.MAX_PACKET_BYTES


def test_the_largest_request_with_its_topic_fits_into_one_packet() -> None:
    device = ids.DeviceAddress("u" * 32 + "-127")
    topic = topics.request(device, RequestId(random_id(bytes(16))))
    assert limits.MAX_DIRECTORY_BYTES + len(topic) + 16 <= limits.MAX_PACKET_BYTES
    batch = _kem_batch(limits.MAX_PREKEY_BATCH)
    request = encode(samples.REQUEST._replace(device=device, body=batch))
    assert directory.SIGNED_REQUEST.decode(request).body == batch


def test_a_full_device_list_and_a_full_page_of_contacts_fit_into_one_reply() -> None:
    assert len(_devices(limits.MAX_DEVICES)) <= limits.MAX_DIRECTORY_BYTES // 2
    longest = directory.Contact(
        ids.UserName("u" * 32),
        "😀" * limits.MAX_DISPLAY_NAME_CHARACTERS,
        "😀" * limits.MAX_DISPLAY_NAME_CHARACTERS,
    )
    page = encode(directory.ContactsReply((longest,) * directory.CONTACTS_PAGE, more=True))
    reply = encode(samples.REPLY._replace(body=page))
    assert directory.SIGNED_REPLY.decode(reply).body == page
