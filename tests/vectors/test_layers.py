"""Each layer's bytes are frozen by themselves: the one test that fails names the layer."""

import json
from typing import Any, Final

import pytest

from client_sdk.core import kdf
from client_sdk.core.pq_ratchet import Answering, Collecting, Drawing, Offering
from client_sdk.core.state_format import parse_record, serialize_record
from client_sdk.machine.device import DEVICE_RECORD
from client_sdk.machine.linking import stored_device
from client_sdk.wire.pq_message import decode_pq_message, encode_pq_message
from tests.vectors.layers import LAYERS, PATH, own_device, waiting_device

FROZEN: dict[str, Any] = json.loads(PATH.read_text())
LABELS: Final = {
    "HANDSHAKE_LABEL": "HKDF of a handshake",
    "ROOT_LABEL": "root step",
    "PQ_ROOT_LABEL": "post-quantum root step",
    "PQ_EPOCH_LABEL": "post-quantum epoch step",
    "EPOCH_KEY_LABEL": "post-quantum epoch key",
    "CHAIN_LABEL": "chain step",
    "MESSAGE_LABEL": "message key",
    "SESSION_TAG_LABEL": "session tag",
    "LINK_OFFER_LABEL": "proof of a link's offer",
    "LINK_GRANT_LABEL": "proof of a link's grant",
}


@pytest.mark.parametrize("layer", LAYERS)
def test_the_bytes_of_a_layer_are_frozen(layer: str) -> None:
    assert LAYERS[layer]().hex() == FROZEN["layers"][layer], f"layer: {layer}"


def test_every_frozen_layer_is_there_and_no_two_are_alike() -> None:
    assert set(FROZEN["layers"]) == set(LAYERS)
    assert len(set(FROZEN["layers"].values())) == len(LAYERS)


@pytest.mark.parametrize("form", FROZEN["states"])
def test_a_stored_state_is_read_and_written_again_as_it_was(form: str) -> None:
    data = bytes.fromhex(FROZEN["states"][form])
    assert serialize_record(parse_record(data)) == data, f"state: {form}"


def test_the_frozen_states_have_every_stage_and_every_optional_part() -> None:
    records = [parse_record(bytes.fromhex(one)) for one in FROZEN["states"].values()]
    sessions = [one.current for one in records if one.current is not None]
    ratchets = [one.ratchet for one in sessions]
    stages = {type(one.pq.stage) for one in ratchets}
    assert stages == {Drawing, Offering, Collecting, Answering}
    for present in (
        [one.sending for one in ratchets],
        [one.receiving for one in ratchets],
        [one.roots.waiting for one in ratchets],
        [one.handshake for one in sessions],
    ):
        assert {part is None for part in present} == {True, False}
    assert any(one.receiving is not None and one.receiving.skipped for one in ratchets)
    assert any(chain.skipped for one in ratchets for chain in one.closed)
    assert any(one.archived for one in records)
    assert any(isinstance(one.pq.stage, Offering) and one.pq.stage.pieces for one in ratchets)
    assert any(isinstance(one.pq.stage, Collecting) and one.pq.stage.pieces for one in ratchets)
    assert any(isinstance(one.pq.stage, Collecting) and one.pq.stage.key for one in ratchets)


def test_frozen_bytes_are_read_as_well() -> None:
    frozen = {name: bytes.fromhex(value) for name, value in FROZEN["layers"].items()}
    assert DEVICE_RECORD.decode(frozen["own device"]) == own_device()
    assert stored_device(frozen["device that waits to be linked"]) == waiting_device()
    for name, data in frozen.items():
        if name.startswith("post-quantum message"):
            assert encode_pq_message(decode_pq_message(data)) == data


@pytest.mark.parametrize(("label", "layer"), LABELS.items())
def test_a_changed_label_fails_the_vector_of_its_layer_and_no_other(
    monkeypatch: pytest.MonkeyPatch, label: str, layer: str
) -> None:
    assert failed_with(monkeypatch, label) == [layer]


def test_a_changed_label_of_the_checksum_fails_it_and_the_recovery_code_that_ends_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failed = failed_with(monkeypatch, "RECOVERY_CHECK_LABEL")
    assert failed == ["checksum of a recovery code", "recovery code"]


def test_every_label_has_a_vector() -> None:
    labels = {name for name in vars(kdf) if name.endswith("_LABEL")}
    assert labels == {*LABELS, "RECOVERY_CHECK_LABEL"}


def failed_with(monkeypatch: pytest.MonkeyPatch, label: str) -> list[str]:
    monkeypatch.setattr(kdf, label, getattr(kdf, label) + b"!")
    return [name for name, make in LAYERS.items() if make().hex() != FROZEN["layers"][name]]
