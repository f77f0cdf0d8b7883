"""First messages that cross: in whatever order they arrive, one session is left and all is read."""

from hypothesis import given, settings
from hypothesis import strategies as st

from client_sdk import entropy
from client_sdk.machine.rows import OutboxEnvelope, ReceiptDue
from tests.unit.machine.machine_parties import NOW, Party, make_pair

Mail = list[tuple[Party, Party, OutboxEnvelope]]


def deliver(mail: Mail, data: st.DataObject, *, twice: bool) -> Mail:
    """Deliver all mail in a drawn order, each receiver answering as delivery does."""
    answers: Mail = []
    order = data.draw(st.permutations(range(len(mail))))
    if twice:
        order = [*order, *data.draw(st.permutations(range(len(mail))))]
    for index in order:
        sender, receiver, envelope = mail[index]
        receiver.receive(sender.address, envelope)
        due = receiver.receipts_due[:]
        receiver.receipts_due.clear()
        answer: bool = data.draw(st.booleans())
        if due and answer:
            answers.append((receiver, sender, receiver.receipt(sender, due)))
    return answers


def first_mail(sender: Party, receiver: Party, data: st.DataObject) -> tuple[list[str], Mail]:
    """Return what a side sends before it hears anything: texts, or one receipt."""
    if data.draw(st.booleans()):  # owed to another device of the receiver's user
        sender.begin(receiver)
        owed = ReceiptDue(receiver.user, entropy.draw_message_id(), read=False, due_since=NOW)
        return [], [(sender, receiver, sender.receipt(receiver, [owed]))]
    texts = [f"{sender.user} {number}" for number in range(data.draw(st.integers(1, 3)))]
    return texts, [(sender, receiver, sender.send(receiver, text)) for text in texts]


@settings(max_examples=60)
@given(st.data())
def test_crossing_first_messages_converge_and_lose_nothing(data: st.DataObject) -> None:
    alice, bob = make_pair()
    expected: dict[str, list[str]] = {"alice": [], "bob": []}
    mail: Mail = []
    for sender, receiver in ((alice, bob), (bob, alice)):
        texts, first = first_mail(sender, receiver, data)
        expected[receiver.user] += texts
        mail += first
    for round_number in range(4):
        if not mail:
            break
        kept_back = data.draw(st.integers(0, len(mail) - 1)) if round_number < 3 else 0
        waiting, mail = mail[:kept_back], mail[kept_back:]
        mail = waiting + deliver(mail, data, twice=data.draw(st.booleans()))
        if round_number < 2:
            for sender, receiver in ((alice, bob), (bob, alice)):
                text = f"{sender.user} later {round_number}"
                expected[receiver.user].append(text)
                mail.append((sender, receiver, sender.send(receiver, text)))
    while mail:
        mail = deliver(mail, data, twice=False)
    for sender, receiver in ((alice, bob), (bob, alice)) * 2:
        text = f"{sender.user} at last"
        expected[receiver.user].append(text)
        deliver([(sender, receiver, sender.send(receiver, text))], data, twice=False)
    assert alice.handed_over == expected["alice"]
    assert bob.handed_over == expected["bob"]
    assert alice.current_id(bob) == bob.current_id(alice)


@settings(max_examples=25)
@given(st.permutations(range(6)), st.permutations(range(6)))
def test_each_order_of_three_messages_each_way_is_read_in_the_order_of_sending(
    there: list[int], back: list[int]
) -> None:
    alice, bob = make_pair()
    texts = [str(number) for number in range(6)]
    to_bob = [alice.send(bob, text) for text in texts]
    to_alice = [bob.send(alice, text) for text in texts]
    for first, second in zip(there, back, strict=True):
        bob.receive(alice.address, to_bob[first])
        alice.receive(bob.address, to_alice[second])
    assert bob.handed_over == texts
    assert alice.handed_over == texts
