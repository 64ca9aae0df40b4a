"""Identity: invites and their refusals, recovery from the phrase, the pool's health as it is told."""
import hashlib
import os
import time
import unittest

from pool import Node, PoolTest, Pool, describe

ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"


def edited(code):
    """The same invite with another expiry and a checksum that fits: what somebody who knows the format could make."""
    import base64
    body = code[len("cairn1"):].upper()
    raw = bytearray(base64.b32decode(body + "=" * (-len(body) % 8)))
    message, _ = raw[:-4], raw[-4:]
    # The pool's name is its last field; one letter of it is changed.
    at = message.rfind(b"test")
    message[at] ^= 1
    message += hashlib.sha256(bytes(message)).digest()[:4]
    return "cairn1" + base64.b32encode(bytes(message)).decode().rstrip("=").lower()


class Joining(PoolTest):
    NODES = 3

    def stranger(self, number):
        return Node(self.pool, number)

    def test_an_invite_is_used_once(self):
        code = self.me.cairn("invite").stdout.decode().strip()
        self.assertNotIn("\n", code)
        first, second = self.stranger(100), self.stranger(101)
        first.cairn("join", code, "--yes", "--phrase-out", self.pool.root / "p100")
        refused = second.cairn("join", code, "--yes", "--phrase-out", self.pool.root / "p101", expect=1)
        self.assertIn(b"already used", refused.stderr)
        second.cairn("status", expect=10)

    def test_an_expired_an_edited_and_a_mistyped_invite_are_refused_each_in_its_own_words(self):
        expired = self.me.cairn("invite", "--expires", "100ms").stdout.decode().strip()
        time.sleep(0.2)
        node = self.stranger(102)
        said = node.cairn("join", expired, "--yes", expect=1).stderr
        self.assertIn(b"expired", said)
        code = self.me.cairn("invite").stdout.decode().strip()
        said = node.cairn("join", edited(code), "--yes", expect=1).stderr
        self.assertIn(b"denied", said)
        self.assertIn(b"edited", said)
        typo = code[:-3] + ("a" if code[-3] != "a" else "b") + code[-2:]
        node.cairn("join", typo, "--yes", expect=2)
        node.cairn("join", code, "--yes", "--phrase-out", self.pool.root / "p102")

    def test_the_phrase_and_one_peer_bring_everything_back(self):
        tree = self.folder("tree")
        tree.mkdir()
        for i in range(10):
            (tree / f"f{i}").write_bytes(os.urandom(50000 * i))
        self.me.cairn("put", tree, "main:/tree")
        pool_id = self.me.json("status")["pool"]["id"]
        node = self.stranger(103)
        phrase = self.pool.root / "phrase0"
        self.assertEqual(phrase.stat().st_mode & 0o777, 0o600)
        wrong = self.folder("wrong")
        words = phrase.read_text().split()
        wrong.write_text(" ".join(["abandon"] * 23 + ["art"]))
        node.cairn("recover", "--phrase-file", wrong, "--pool", pool_id, "--peer", self.pool.nodes[2].address, expect=12)
        wrong.write_text(" ".join(words[:-1] + ["abandon" if words[-1] != "abandon" else "zoo"]))
        node.cairn("recover", "--phrase-file", wrong, "--pool", pool_id, "--peer", self.pool.nodes[2].address, expect=12)
        node.cairn("recover", "--phrase-file", phrase, "--pool", pool_id, "--peer", self.pool.nodes[2].address)
        node.cairn("get", "main:/tree", self.folder("out"))
        self.assertEqual(describe(tree), describe(self.folder("out")))
        # The new device may write, and the old one sees it.
        node.cairn("put", tree / "f1", "main:/from the new one")
        self.assertEqual(self.me.cairn("cat", "main:/from the new one").stdout, (tree / "f1").read_bytes())

    def test_members_do_not_see_each_others_files(self):
        note = self.folder("note")
        note.write_text("mine")
        self.me.cairn("put", note, "main:/note")
        other = self.pool.nodes[1]
        other.cairn("cat", "main:/note", expect=10)
        other.cairn("put", note, "main:/theirs")
        self.me.cairn("cat", "main:/theirs", expect=10)

    def test_holders_never_see_plaintext(self):
        secret = b"a sentence that no holder may ever read " * 500
        file = self.folder("secret")
        file.write_bytes(secret)
        self.me.cairn("put", file, "main:/secret name that must not leak")
        for node in self.pool.nodes:
            for path in node.store.rglob("*"):
                if path.is_file():
                    data = path.read_bytes()
                    self.assertNotIn(b"a sentence that no holder", data)
                    self.assertNotIn(b"secret name that", data)

    def test_the_health_of_the_pool_is_told(self):
        status = self.me.json("status")
        self.assertEqual(len([n for n in status["nodes"] if n["lends"]]), 3)
        for key in ["id", "name", "state", "used", "limit", "audit", "path"]:
            self.assertIn(key, status["nodes"][0])
        for key in ["at_goal", "below_goal", "lost"]:
            self.assertIn(key, status["packs"])
        self.assertEqual(status["mounts"], [])
        self.assertIn("node1", self.me.cairn("ping", "node1").stdout.decode())
        self.me.cairn("ping", "nobody", expect=10)
        kit = self.me.cairn("recovery-kit").stdout.decode()
        for word in (self.pool.root / "phrase0").read_text().split():
            self.assertIn(word, kit)
        self.assertIn(status["pool"]["id"], kit)
        self.me.cairn("doctor", expect=None)
        self.me.cairn("status")

    def test_one_more_store_is_taken_up_by_the_running_daemon(self):
        more = self.pool.root / "more"
        self.me.cairn("store", "add", more, "--limit", "64M", "--keep-free", "0%")
        self.me.cairn("store", "add", more, "--limit", "64M", expect=1)
        self.me.cairn("store", "add", self.pool.root / "tiny", "--limit", "4K", expect=2)
        for _ in range(100):
            stores = {s["path"]: s for s in self.me.json("store", "ls")["stores"]}
            if stores[str(more)]["running"] and stores[str(more)]["state"] == "ok":
                break
            time.sleep(0.2)
        self.assertEqual(stores[str(more)]["state"], "ok")

    def test_bad_usage_exits_2_and_a_home_without_a_pool_10(self):
        self.me.cairn("put", "only one", expect=2)
        self.me.cairn("nonsense", expect=2)
        self.stranger(104).cairn("status", expect=10)
        self.me.cairn("init", "--name", "again", expect=1)


if __name__ == "__main__":
    unittest.main()
