// Runs in the scratch folder: npm @signalapp/libsignal-client, its stores in memory.
// Prints one line of JSON: rows in microseconds or bytes, and the versions.

import { readFileSync } from "node:fs";
import * as signal from "@signalapp/libsignal-client";

const [operations, setups, chain] = process.argv.slice(2).map(Number);
const text = new Uint8Array(64);
const now = () => Number(process.hrtime.bigint()) / 1000;
const name = (address) => `${address.name()}.${address.deviceId()}`;

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

// Records are kept as bytes, as any store that outlives its process has to keep them.
class Sessions extends signal.SessionStore {
  records = new Map();
  async saveSession(address, record) {
    this.records.set(name(address), record.serialize());
  }
  async getSession(address) {
    const bytes = this.records.get(name(address));
    return bytes === undefined ? null : signal.SessionRecord.deserialize(bytes);
  }
  async getExistingSessions(addresses) {
    return Promise.all(addresses.map((one) => this.getSession(one)));
  }
}

class Identities extends signal.IdentityKeyStore {
  own = signal.IdentityKeyPair.generate();
  known = new Map();
  async getIdentityKey() {
    return this.own.privateKey;
  }
  async getIdentityKeyPair() {
    return this.own;
  }
  async getLocalRegistrationId() {
    return 5;
  }
  async saveIdentity(address, key) {
    this.known.set(name(address), key);
    return signal.IdentityChange.NewOrUnchanged;
  }
  async isTrustedIdentity() {
    return true;
  }
  async getIdentity(address) {
    return this.known.get(name(address)) ?? null;
  }
}

class Prekeys extends signal.PreKeyStore {
  kept = new Map();
  async savePreKey(id, record) {
    this.kept.set(id, record);
  }
  async getPreKey(id) {
    return this.kept.get(id);
  }
  async removePreKey(id) {
    this.kept.delete(id);
  }
}

class SignedPrekeys extends signal.SignedPreKeyStore {
  kept = new Map();
  async saveSignedPreKey(id, record) {
    this.kept.set(id, record);
  }
  async getSignedPreKey(id) {
    return this.kept.get(id);
  }
}

class KyberPrekeys extends signal.KyberPreKeyStore {
  kept = new Map();
  async saveKyberPreKey(id, record) {
    this.kept.set(id, record);
  }
  async getKyberPreKey(id) {
    return this.kept.get(id);
  }
  async markKyberPreKeyUsed() {}
}

class Party {
  constructor(who) {
    this.address = signal.ProtocolAddress.new(who, 1);
    this.sessions = new Sessions();
    this.identities = new Identities();
    this.prekeys = new Prekeys();
    this.signedPrekeys = new SignedPrekeys();
    this.kyberPrekeys = new KyberPrekeys();
  }

  async bundle() {
    const identity = this.identities.own;
    const [oneTime, signed] = [signal.PrivateKey.generate(), signal.PrivateKey.generate()];
    const kyber = signal.KEMKeyPair.generate();
    const sign = (key) => identity.privateKey.sign(key.serialize());
    const signedSignature = sign(signed.getPublicKey());
    const kyberSignature = sign(kyber.getPublicKey());
    const oneTimePublic = oneTime.getPublicKey();
    await this.prekeys.savePreKey(1, signal.PreKeyRecord.new(1, oneTimePublic, oneTime));
    await this.signedPrekeys.saveSignedPreKey(
      2,
      signal.SignedPreKeyRecord.new(2, 1, signed.getPublicKey(), signed, signedSignature),
    );
    await this.kyberPrekeys.saveKyberPreKey(
      3,
      signal.KyberPreKeyRecord.new(3, 1, kyber, kyberSignature),
    );
    return signal.PreKeyBundle.new(
      5, 1, 1, oneTimePublic, 2, signed.getPublicKey(), signedSignature, identity.publicKey,
      3, kyber.getPublicKey(), kyberSignature,
    );
  }

  async encrypt(to) {
    const message = await signal.signalEncrypt(
      text, to.address, this.address, this.sessions, this.identities,
    );
    return message.serialize();
  }

  async decrypt(from, bytes) {
    const message = signal.SignalMessage.deserialize(bytes);
    return signal.signalDecrypt(
      message, from.address, this.address, this.sessions, this.identities,
    );
  }

  async decryptFirst(from, bytes) {
    const message = signal.PreKeySignalMessage.deserialize(bytes);
    return signal.signalDecryptPreKey(
      message, from.address, this.address, this.sessions, this.identities,
      this.prekeys, this.signedPrekeys, this.kyberPrekeys,
    );
  }
}

async function timed(run, samples) {
  const began = now();
  const result = await run();
  samples.push(now() - began);
  return result;
}

async function measure() {
  const sending = [], accepting = [], encrypting = [], decrypting = [], pairs = [];
  let alice, bob;
  for (let i = 0; i < setups; i++) {
    [alice, bob] = [new Party("alice"), new Party("bob")];
    const bundle = await bob.bundle();
    const first = await timed(async () => {
      await signal.processPreKeyBundle(
        bundle, bob.address, alice.address, alice.sessions, alice.identities,
      );
      return alice.encrypt(bob);
    }, sending);
    await timed(() => bob.decryptFirst(alice, first), accepting);
  }
  await alice.decrypt(bob, await bob.encrypt(alice));
  let bytes;
  for (let i = 0; i < operations; i++) {
    bytes = await timed(() => alice.encrypt(bob), encrypting);
    await timed(() => bob.decrypt(alice, bytes), decrypting);
  }
  const wireBytes = bytes.length;
  const sessionBytes = alice.sessions.records.get(name(bob.address)).length;
  let [sender, receiver] = [bob, alice];
  for (let i = 0; i < operations; i++) {
    await timed(async () => receiver.decrypt(sender, await sender.encrypt(receiver)), pairs);
    [sender, receiver] = [receiver, sender];
  }
  const waiting = [];
  for (let i = 0; i < chain; i++) waiting.push(await sender.encrypt(receiver));
  const jump = [], late = [];
  await timed(() => receiver.decrypt(sender, waiting.at(-1)), jump);
  for (const one of waiting.slice(0, -1)) await timed(() => receiver.decrypt(sender, one), late);
  return {
    setup_sender: median(sending),
    setup_receiver: median(accepting),
    encrypt: median(encrypting),
    decrypt: median(decrypting),
    pair: median(pairs),
    jump: jump[0],
    late: median(late),
    wire_bytes: wireBytes,
    session_bytes: sessionBytes,
  };
}

const path = "node_modules/@signalapp/libsignal-client/package.json";
const versions = {
  "libsignal-client": JSON.parse(readFileSync(path, "utf8")).version,
  node: process.versions.node,
};
console.log(JSON.stringify({ versions, rows: await measure() }));
