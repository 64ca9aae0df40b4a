"""Peers that do not play by the rules, against real daemons: nothing they do stops the pool."""
import os
import signal
import socket
import ssl
import subprocess
import threading
import unittest

from pool import Pool, PoolTest, describe


def address_of(node):
    host, port = node.address.rsplit(":", 1)
    return host, int(port)


class Liar:
    """Listens at an address where a daemon was, and does `answer` with every connection."""

    def __init__(self, address, answer):
        self.answer, self.held, self.met = answer, [], 0
        self.listener = socket.create_server(address)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.met += 1
            self.held.append(connection)
            try:
                self.answer(connection)
            except OSError:
                pass

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in self.held:
            connection.close()


class Strangers(PoolTest):
    """Who is no member gets nothing, and costs the daemon nothing."""
    NODES = 3

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.me.cairn("mkdir", "main:/there")  # a member's first use of the pool wants an answer of every node

    def still_serves(self):
        content = os.urandom(300000)
        file = self.folder("file")
        file.write_bytes(content)
        self.me.cairn("put", file, "main:/" + self.id().rsplit(".", 1)[-1])
        self.assertEqual(self.me.cairn("cat", "main:/" + self.id().rsplit(".", 1)[-1]).stdout, content)

    def refused(self, context):
        """True when nothing but an alarm comes out of a handshake with these settings."""
        with socket.create_connection(address_of(self.pool.nodes[1]), timeout=60) as plain:
            try:
                with context.wrap_socket(plain) as stream:
                    stream.sendall(b"\0" * 64)
                    return stream.recv(1) == b""
            except OSError:  # ssl.SSLError is one
                return True

    def context(self, certificate=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if certificate:
            context.load_cert_chain(certificate)
        return context

    def certificate(self, *key):
        path = self.folder("-".join(key).replace(":", "") + ".pem")
        made = path.with_suffix(".crt")
        subprocess.run(["openssl", "req", "-x509", "-newkey", *key, "-nodes", "-subj", "/CN=stranger", "-keyout", path, "-out", made],
                       check=True, capture_output=True)
        path.write_bytes(path.read_bytes() + made.read_bytes())
        return path

    def test_without_a_certificate_of_the_right_kind_there_is_no_session(self):
        self.assertTrue(self.refused(self.context()), "no certificate")
        self.assertTrue(self.refused(self.context(self.certificate("ed25519"))), "another form")
        self.assertTrue(self.refused(self.context(self.certificate("rsa:2048"))), "another kind of key")
        old = self.context(self.certificate("ed25519"))
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        self.assertTrue(self.refused(old), "TLS 1.2")
        self.still_serves()

    def test_garbage_and_silence_are_cut_off(self):
        node = self.pool.nodes[1]
        for garbage in [b"\0", b"\xff" * 100000, b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"\1" * 70000]:
            with socket.create_connection(address_of(node), timeout=60) as connection:
                try:
                    connection.sendall(garbage)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65536):
                        pass
                except ConnectionError:
                    pass
        silent = [socket.create_connection(address_of(node), timeout=60) for _ in range(300)]
        self.still_serves()
        for connection in silent:
            connection.close()
        self.still_serves()
        self.assertIsNone(node.process.poll())


class FalsePeers(unittest.TestCase):
    """A daemon that hangs, and something else that listens where a daemon was."""

    def put_and_get(self, pool, name):
        tree = pool.root / name
        tree.mkdir()
        for i in range(10):
            (tree / f"f{i}").write_bytes(os.urandom(200000))
        pool.nodes[0].cairn("put", tree, f"main:/{name}")
        pool.nodes[0].cairn("get", f"main:/{name}", pool.root / f"{name}.out")
        self.assertEqual(describe(tree), describe(pool.root / f"{name}.out"))

    def test_a_node_that_accepts_and_never_answers_or_answers_garbage_is_passed_over(self):
        pool = Pool(6)
        self.addCleanup(pool.close)
        me = pool.nodes[0]
        tree = pool.root / "before"
        tree.mkdir()
        for i in range(10):
            (tree / f"f{i}").write_bytes(os.urandom(200000))
        me.cairn("put", "--wait", "placed", tree, "main:/before")

        # The kernel accepts for it, the process never says a word.
        pool.nodes[2].process.send_signal(signal.SIGSTOP)
        self.put_and_get(pool, "hanging")
        me.cairn("get", "main:/before", pool.root / "before.1")
        pool.nodes[2].process.send_signal(signal.SIGCONT)
        pool.wait_for(6)

        for number, answer in enumerate([lambda connection: None, lambda connection: connection.sendall(os.urandom(100000))]):
            node = pool.nodes[3 + number]
            node.end(signal.SIGKILL)
            liar = Liar(address_of(node), answer)
            self.put_and_get(pool, f"liar{number}")
            out = pool.root / f"before.liar{number}"
            me.cairn("get", "main:/before", out)
            self.assertEqual(describe(tree), describe(out))
            self.assertGreater(liar.met, 0)
            liar.close()
            node.start()
            pool.wait_for(6)


if __name__ == "__main__":
    unittest.main()
