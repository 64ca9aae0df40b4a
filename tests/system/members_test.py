"""Removing members and revoking devices: what they run is refused at once, and told why, also when it comes back."""
import os
import signal
import subprocess
import time
import unittest

from pool import BIN, PATIENCE, Node, Pool


def eventually(check, what):
    """Bounds what hangs; asserts no time."""
    deadline = time.monotonic() + PATIENCE
    while not check():
        if time.monotonic() > deadline:
            raise AssertionError("never: " + what)
        time.sleep(0.1)


def states(node):
    return {n["id"]: n["state"] for n in node.json("nodes")["nodes"]}


class Members(unittest.TestCase):
    def setUp(self):
        self.pool = Pool(4)
        self.addCleanup(self.pool.close)
        self.me = self.pool.nodes[0]

    def join(self, user, *more):
        node = Node(self.pool, len(self.pool.nodes))
        code = self.me.cairn("invite").stdout.decode().strip()
        node.cairn("join", code, "--yes", "--name", f"{user}-pc", "--store", node.store, "--limit", "256M", "--listen", self.pool.ports.next(),
                   "--phrase-out", self.pool.root / f"phrase{node.number}", env={**os.environ, "USER": user})
        self.pool.nodes.append(node)
        node.start()
        return node

    def log_of(self, node):
        return (self.pool.root / f"daemon{node.number}.log").read_text()

    def test_a_removed_member_is_refused_everywhere_at_once_and_told_why(self):
        alice = self.join("alice")
        note = self.pool.root / "note"
        note.write_bytes(os.urandom(100000))
        alice.cairn("put", note, "main:/note")
        # A command of hers is at work while she is removed: the first part is in the pool, the rest is still to come.
        reader, writer = os.pipe()
        at_work = subprocess.Popen([BIN / "cairn", "put", "-", "main:/stream", "--home", alice.home], stdin=reader, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        os.close(reader)
        os.write(writer, os.urandom(65536))
        members = {m["name"]: m for m in self.me.json("member", "ls")["members"]}
        self.assertEqual((members["alice"]["role"], members["alice"]["state"], members["alice"]["nodes"]), ("member", "member", 1))

        # Who may not, and what cannot be.
        refused = alice.cairn("member", "rm", self.me.json("member", "ls")["members"][0]["id"][:12], "--yes", expect=1)
        self.assertIn(b"only an admin", refused.stderr)
        self.me.cairn("member", "rm", "nobody", "--yes", expect=10)
        own = next(m for m in self.me.json("member", "ls")["members"] if m["self"])
        self.assertIn(b"removes himself", self.me.cairn("member", "rm", own["id"], "--yes", expect=2).stderr)
        self.me.cairn("member", "rm", "alice", expect=None)  # nobody says yes
        self.assertEqual(states(self.me)[alice.id], "alive")

        self.me.cairn("member", "rm", "alice", "--yes")
        for node in self.pool.nodes[:4]:
            eventually(lambda: states(node).get(alice.id) == "removed", "removed as seen by all")
        eventually(lambda: "refused_by_pool" in self.log_of(alice), "her daemon is told")
        with os.fdopen(writer, "wb") as rest:
            try:
                rest.write(os.urandom(8 << 20))
            except BrokenPipeError:
                pass
        out, said = at_work.communicate(timeout=PATIENCE)
        self.assertEqual(at_work.returncode, 1, said)
        self.assertIn(b"this member was removed from the pool", said)
        said = alice.cairn("put", note, "main:/again", expect=1).stderr
        self.assertIn(b"the pool refuses this device", said)
        self.assertIn(b"this member was removed from the pool", said)
        # At once: five commands take less than one did that waited for somebody to answer after all.
        begun = time.monotonic()
        for command in (("ls", "main:/"), ("cat", "main:/note"), ("snapshots",), ("volume", "ls"), ("prune",)):
            said = alice.cairn(*command, expect=1).stderr
            self.assertIn(b"the pool refuses this device: this member was removed from the pool", said)
        self.assertLess(time.monotonic() - begun, 10)
        self.assertTrue(any("refuses this device" in w for w in alice.json("status")["warnings"]))
        self.assertEqual([s["trash"] for s in self.me.json("status")["stores"]], [{"shards": 0, "bytes": 0, "next": None, "last": None}])
        # She is shown to those who ask for it only; JSON has her, and says what she is.
        shown = self.me.cairn("nodes").stdout.decode()
        self.assertNotIn(alice.id[:8], shown)
        self.assertIn("One node that left or was removed: `cairn nodes --all`", shown)
        self.assertNotIn(alice.id[:8], self.me.cairn("status").stdout.decode())
        self.assertIn(alice.id[:8], self.me.cairn("nodes", "--all").stdout.decode())
        gone = {n["id"]: n["gone"] for n in self.me.json("nodes")["nodes"]}
        self.assertEqual([node for node in gone if gone[node]], [alice.id])
        # Nothing of hers is taken any more: not one request.
        self.me.cairn("put", note, "main:/mine")
        self.assertEqual(self.me.cairn("cat", "main:/mine").stdout, note.read_bytes())

        # She comes back, and so does the one who removed her.
        for node in (alice, self.me):
            node.end()
            node.start()
        said = alice.cairn("cat", "main:/note", expect=1).stderr
        self.assertIn(b"this member was removed from the pool", said)
        self.assertEqual(states(self.me)[alice.id], "removed")
        self.assertEqual({m["name"]: m["state"] for m in self.me.json("member", "ls")["members"]}["alice"], "removed")
        self.me.cairn("member", "rm", "alice", "--yes", expect=10)

    def test_who_was_away_when_others_joined_finds_them_with_all_gone_whom_it_knew(self):
        away = self.pool.nodes[1]
        away.end(signal.SIGKILL)
        carol = self.join("carol")
        eventually(lambda: away.id in states(carol), "the founder told of the one that is away")
        for node in [self.pool.nodes[i] for i in (0, 2, 3)]:
            node.end(signal.SIGKILL)
        away.start()
        eventually(lambda: states(away).get(carol.id) == "alive" and states(carol)[away.id] == "alive", "they found each other")

    def test_a_revoked_device_is_refused_and_the_members_others_go_on(self):
        bob = self.join("bob")
        note = self.pool.root / "note"
        note.write_bytes(os.urandom(100000))
        bob.cairn("put", note, "main:/note")
        lost = Node(self.pool, 90)
        lost.cairn("recover", "--phrase-file", self.pool.root / f"phrase{bob.number}", "--pool", bob.json("status")["pool"]["id"], "--peer", self.me.address,
                   "--name", "bobs-laptop", "--listen", self.pool.ports.next())
        self.pool.nodes.append(lost)
        lost.start()
        self.assertEqual(lost.cairn("cat", "main:/note").stdout, note.read_bytes())
        eventually(lambda: states(self.me).get(lost.id) == "alive", "the laptop is known")
        self.assertIn(b"does not revoke itself", self.me.cairn("device", "rm", self.me.id, "--yes", expect=2).stderr)
        self.me.cairn("device", "rm", "bobs-laptop", "--yes")
        for node in self.pool.nodes[:5]:
            eventually(lambda: states(node).get(lost.id) == "removed", "removed as seen by all")
        self.assertIn(b"this device was revoked", lost.cairn("cat", "main:/note", expect=1).stderr)
        self.assertEqual(bob.cairn("cat", "main:/note").stdout, note.read_bytes())
        bob.cairn("put", note, "main:/more")
        self.assertEqual(states(self.me)[bob.id], "alive")

        # Without its daemon the one who revokes cannot tell the others, and says so.
        self.me.end()
        self.assertIn(b"does not run", self.me.cairn("device", "rm", bob.id, "--yes", expect=13).stderr)


if __name__ == "__main__":
    unittest.main()
