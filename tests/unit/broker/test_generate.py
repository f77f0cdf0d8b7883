"""The configuration of other brokers: the ready files, what is refused, and the rights."""

from pathlib import Path

import pytest

from broker import acl
from broker.errors import UnsafeError
from broker.generate import mosquitto, nats
from broker.generate.rights import Rights, device_rights, rights_of
from broker.generate.rules import MAX_NODES, refusals, require_deployable
from broker.limits import BrokerLimits
from broker.settings import BrokerSettings
from broker.settings_sources import load_settings
from client_sdk.wire import topics
from client_sdk.wire.ids import DeviceAddress, EnvelopeId, InvitationId, RequestId
from client_sdk.wire.verifier import Verifier

CONFIGS = Path(__file__).parents[3] / "configs"
INVITATION = InvitationId("a" * 26)
NODES = ["127.0.0.1:6222", "127.0.0.1:6223", "127.0.0.1:6224"]
URLS = ["mqtt://127.0.0.1:1883", "mqtt://127.0.0.1:1884"]
ALICE, BOB = DeviceAddress("alice-1"), DeviceAddress("bob-1")


def made(broker: str, **more: object) -> BrokerSettings:
    return BrokerSettings.model_validate({"data_dir": "/data", "broker": broker, **more})


def test_the_ready_files_of_mosquitto_are_made_of_their_settings() -> None:
    folder = CONFIGS / "mosquitto"
    settings = load_settings(folder / "settings.toml", {})
    require_deployable(settings)
    ready = mosquitto.configuration(settings, Path("/etc/ratchetmq/mosquitto"))
    assert (folder / "mosquitto.conf").read_text() == ready
    assert (folder / "acl").read_text() == mosquitto.access_list()
    assert len(list(folder.iterdir())) == 3


def test_the_ready_files_of_nats_are_made_of_their_settings() -> None:
    folder = CONFIGS / "nats"
    settings = load_settings(folder / "settings.toml", {})
    require_deployable(settings)
    for node in range(3):
        ready = nats.configuration(settings, Path("/etc/ratchetmq/nats"), node)
        assert (folder / nats.config_file(settings, node)).read_text() == ready
    assert len(list(folder.iterdir())) == 4


def test_no_ready_file_holds_a_secret() -> None:
    settings = load_settings(CONFIGS / "nats" / "settings.toml", {})
    secrets = nats.NatsSecrets("A" * 56, "callout-password", "system-password", "route-password")
    told = nats.secrets_text(secrets, settings)
    for secret in ("callout-password", "system-password", "route-password"):
        assert secret in told
        assert secret not in repr(secrets)


@pytest.mark.parametrize(
    ("broker", "wrong", "about"),
    [
        ("mosquitto", {"ws_port": 8083}, "WebSocket"),
        ("mosquitto", {"host": "0.0.0.0"}, "no TLS"),
        ("nats", {"host": "192.0.2.1"}, "no TLS"),
        ("nats", {"port": 0}, "port 0"),
        ("nats", {"ws_port": 0}, "ws_port 0"),
        ("nats", {"nats_port": 0}, "nats_port 0"),
        ("mosquitto", {"metrics_port": 9464}, "metrics_port"),
        ("embedded", {}, "needs no configuration"),
        ("mosquitto", {"cluster_nodes": ["127.0.0.1:1"]}, "does not run as a cluster"),
        ("nats", {"cluster_nodes": ["127.0.0.1:1", "127.0.0.1:2"]}, "three or five"),
        ("nats", {"cluster_nodes": ["127.0.0.1:1"] * 3}, "named twice"),
        ("nats", {"cluster_nodes": ["127.0.0.1:1", "127.0.0.1", "127.0.0.1:3"]}, "host:port"),
        ("nats", {"cluster_nodes": ["a.example:1", "b.example:1", "c.example:1"]}, "tls_ca"),
        (
            "nats",
            {"cluster_nodes": ["a.example:1", "b.example:1", "c.example:1"], "allow_plaintext": 1},
            "tls_ca",
        ),
        ("nats", {"public_urls": ["foo bar"]}, "public_urls: not a broker address"),
        (
            "mosquitto",
            {"public_urls": ["http://chat.example"]},
            "public_urls: not a broker address",
        ),
        ("nats", {"public_urls": ["ws://chat.example"]}, "allow_plaintext behind a VPN"),
        (
            "mosquitto",
            {
                "public_urls": ["mqtts://chat.example", "mqtt://chat.example"],
                "tls_cert": "/tls.crt",
                "tls_key": "/tls.key",
                "allow_plaintext": True,
            },
            "name mqtts://",
        ),
        ("nats", {"cluster_nodes": ["a/x:1", "b:2", "c:3"]}, "'a/x:1' is not host:port"),
        ("nats", {"cluster_nodes": ["u:p@a:1", "b:2", "c:3"]}, "'u:p@a:1' is not host:port"),
        ("nats", {"cluster_nodes": ['a"\nx:1', "b:2", "c:3"]}, "x:1' is not host:port"),
        ("nats", {"cluster_nodes": ["a:0", "b:65536", "c:3"]}, "'b:65536' is not host:port"),
        ("nats", {"ws_origins": ['https://a"]\nport: 1']}, "ws_origins"),
        ("nats", {"ws_origins": ["https://a\tb"]}, "ws_origins"),
        ("nats", {"cluster_nodes": ["127.0.0.1:1883", *NODES[1:]]}, "1883 is port, too"),
        ("nats", {"cluster_nodes": ["127.0.0.1:4222", *NODES[1:]]}, "4222 is nats_port, too"),
        ("nats", {"cluster_nodes": ["localhost:6222", *NODES]}, "have one port"),
        ("nats", {"cluster_nodes": NODES}, "public_urls: invitations would name one"),
        ("nats", {"cluster_nodes": NODES, "public_urls": URLS[:1] * 2}, "at least two"),
        ("nats", {"cluster_nodes": ["a.example:1", "b.example:1", "c.example:1"]}, "database_url"),
        (
            "nats",
            {"cluster_nodes": ["a.example:1", *NODES[1:]], "database_url": "sqlite:////shared.db"},
            "database_url: a.example",
        ),
        ("mosquitto", {"limits": {"max_waiting_bytes": 1 << 30}}, "limits.max_waiting_bytes"),
        ("mosquitto", {"limits": {"max_queue_messages": 99_999}}, "100000 or more"),
        ("nats", {"limits": {"max_queue_messages": 100_000}}, "limits.max_queue_messages"),
        ("nats", {"limits": {"max_age_seconds": 60}}, "limits.max_age_seconds"),
        ("mosquitto", {"data_dir": "/da\nta"}, "data_dir"),
        ("nats", {"data_dir": '/da"ta'}, "data_dir"),
        ("mosquitto", {"host": "127.0.0.1#x", "allow_plaintext": True}, "host"),
    ],
)
def test_what_a_broker_cannot_keep_safely_is_refused(
    broker: str, wrong: dict[str, object], about: str
) -> None:
    settings = made(broker, **wrong)
    assert any(about in text for text in refusals(settings))
    with pytest.raises(UnsafeError):
        require_deployable(settings)


@pytest.mark.parametrize(
    "taken",
    [
        {"public_urls": ["mqtt://127.0.0.1:1883", "mqtts://proxy.example"]},
        {"public_urls": ["mqtt://vpn.example"], "allow_plaintext": True},
    ],
)
def test_what_a_tunnel_proxy_or_vpn_encrypts_may_be_named(taken: dict[str, object]) -> None:
    assert list(refusals(made("nats", **taken))) == []


@pytest.mark.parametrize("broker", ["mosquitto", "nats"])
def test_a_limit_is_taken_where_the_configuration_changes_with_it(broker: str) -> None:
    texts = {"mosquitto": mosquitto.configuration, "nats": nats.configuration}
    for name, value in BrokerLimits():
        limits = BrokerLimits().model_copy(update={name: value + 100_000})
        changed = made(broker).model_copy(update={"limits": limits})
        kept = texts[broker](changed, Path("/out")) != texts[broker](made(broker), Path("/out"))
        assert (list(refusals(changed)) == []) is kept, name


@pytest.mark.parametrize(("count", "taken"), [(1, False), (3, True), (5, True), (7, False)])
def test_a_cluster_has_three_or_five_nodes(count: int, taken: bool) -> None:
    nodes = [f"127.0.0.1:{6222 + number}" for number in range(count)]
    assert (count <= MAX_NODES) or not taken
    assert (list(refusals(made("nats", cluster_nodes=nodes, public_urls=URLS))) == []) is taken


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "mq1.example"])
def test_logins_are_asked_for_on_loopback_wherever_devices_connect(host: str) -> None:
    settings = made("nats", host=host, allow_plaintext=True, nats_port=4333)
    listening = [
        line for line in nats.configuration(settings, Path("/out")).splitlines() if "listen" in line
    ]
    assert listening == ['listen: "127.0.0.1:4333"', f'  listen: "{host}:1883"']


@pytest.mark.parametrize(("nodes", "copies"), [(0, 1), (3, 3), (5, 3)])
def test_a_cluster_keeps_three_copies(nodes: int, copies: int) -> None:
    named = [f"127.0.0.1:{6222 + number}" for number in range(nodes)]
    settings = made("nats", cluster_nodes=named)
    text = nats.configuration(settings, Path("/out"))
    assert nats.copies_of(settings) == copies
    assert (f"stream_replicas: {copies}\n" in text) is bool(nodes)


def test_the_user_name_is_the_client_id_under_the_listener() -> None:
    text = mosquitto.configuration(made("mosquitto"), Path("/out"))
    listener, _, rest = text.partition("listener 1883 127.0.0.1")
    assert "use_username_as_clientid true" in rest
    assert "use_username_as_clientid" not in listener
    assert "allow_anonymous false" in listener


@pytest.mark.parametrize(
    ("limit", "queued"), [(99_999, 100_000), (100_000, 100_000), (100_001, 100_001)]
)
def test_mosquitto_queues_all_mail_that_waits(limit: int, queued: int) -> None:
    settings = made("mosquitto", limits={"max_queue_messages": limit})
    text = mosquitto.configuration(settings, Path("/out"))
    assert f"max_queued_messages {queued}\n" in text


def test_a_login_that_is_none_has_no_rights() -> None:
    for name in ("", "#", "+", "*", ">", "a.b", "a/b", "%u", "alice", "_other", "_kd.x", "a b-1"):
        assert rights_of(name) is None
        assert f"user {name}\n" not in mosquitto.access_list([name])


def test_one_time_logins_and_the_directory_have_lines_of_their_own() -> None:
    text = mosquitto.access_list(["alice-1", f"_enroll-{INVITATION}", "_kd"])
    expected = f"user _enroll-{INVITATION}\ntopic write v1/kd/enroll/{INVITATION}\n"
    assert expected + f"topic read v1/kd/enrolled/{INVITATION}\n" in text
    assert text.count("user _kd\n") == 1
    assert "alice" not in text


def test_the_password_line_has_the_form_of_mosquitto_passwd() -> None:
    line = mosquitto.password_line("alice-1", bytes(32), Verifier(bytes(64)))
    login, _, rest = line.rstrip("\n").partition(":")
    assert login == "alice-1"
    assert [len(part) for part in rest.split("$")] == [0, 1, 3, 16, 88]


def test_a_filter_of_a_tree_subscribes_its_parent_too() -> None:
    claims = nats.permissions(device_rights("alice-1"))
    assert claims["sub"] == {"allow": ["v1.u.alice-1.>", "v1.u.alice-1"]}
    assert claims["pub"] == {
        "allow": ["v1.u.*.in.alice-1.*", "v1.kd.req.alice-1.*", "v1.u.alice-1.>"]
    }


SOME_ID = "b" * 26
SENT = {
    topics.inbox(BOB, ALICE, EnvelopeId(SOME_ID)),
    topics.inbox(ALICE, BOB, EnvelopeId(SOME_ID)),
    topics.inbox(BOB, BOB, EnvelopeId(SOME_ID)),
    topics.request(ALICE, RequestId(SOME_ID)),
    topics.request(BOB, RequestId(SOME_ID)),
    topics.reply(ALICE, RequestId(SOME_ID)),
    topics.enroll(INVITATION),
    topics.enrolled(INVITATION),
    topics.enroll(InvitationId(SOME_ID)),
    "v1/other",
    "$SYS/broker",
}


def matches(rights: tuple[str, ...], topic: str) -> bool:
    def one(wanted: list[str], levels: list[str]) -> bool:
        if wanted[:1] == ["#"]:
            return True
        if not wanted or not levels:
            return wanted == levels
        return wanted[0] in {"+", levels[0]} and one(wanted[1:], levels[1:])

    return any(one(right.split("/"), topic.split("/")) for right in rights)


@pytest.mark.parametrize("login", ["alice-1", "bob-1", "_kd", f"_enroll-{INVITATION}"])
def test_the_rights_are_those_of_the_embedded_broker_without_sizes_and_flags(login: str) -> None:
    rights = rights_of(login) or Rights()
    for topic in SENT:
        ways = [
            acl.Publication(topic, payload, qos=1, retain=retain)
            for payload in (b"", b"x")
            for retain in (True, False)
        ]
        embedded = any(acl.may_publish(login, way) for way in ways)
        assert matches(rights.writes, topic) is embedded, topic
        assert matches(rights.reads, topic) is acl.may_receive(login, topic), topic
