"""What cairn-durability prints, and the same figure in `cairn status`."""
import json
import unittest

from pool import BIN, PoolTest, run


def durability(*words, **options):
    return run(BIN / "cairn-durability", *words, **options).stdout.decode()


class Program(unittest.TestCase):
    def test_the_published_tables(self):
        tables = durability("--tables")
        for digits in ["7.354e-12", "2.399e-08", "99.999999807694154 %", "99.858868985411326 %"]:
            self.assertIn(digits, tables)

    def test_the_methods_agree_and_a_seed_repeats(self):
        words = ["--data", 17, "--parity", 3, "--afr", "0.405%", "--repair", "6.5d", "--json"]
        first = json.loads(durability(*words))
        self.assertEqual(f"{first['periods']:.3e}", "7.354e-12")
        self.assertLess(abs(first["monte_carlo"]["probability"] / first["markov"] - 1), 5 * first["monte_carlo"]["relative_error"])
        self.assertEqual(json.loads(durability(*words)), first)
        self.assertNotEqual(json.loads(durability(*words, "--seed", 2)), first)

    def test_without_repair(self):
        answer = json.loads(durability("--data", 1, "--parity", 0, "--lifetime", "5y", "--repair", "never", "--json"))
        self.assertAlmostEqual(answer["markov"], 0.18126924692201815)
        self.assertIsNone(answer["periods"])

    def test_usage(self):
        self.assertIn("Examples:", durability("--help"))
        for wrong in [["--lifetime", "soon"], ["--lifetime", "never"], ["--data", 0], ["--afr", "x"], ["--samples", 1]]:
            durability(*wrong, expect=2)


class Status(PoolTest):
    NODES = 4

    def test_status_gives_the_figure_for_the_code_of_this_pool_with_what_it_assumes(self):
        self.assertIsNone(self.me.json("status")["loss"])  # nothing is stored
        file = self.folder("file")
        file.write_bytes(b"x" * 100000)
        self.me.cairn("put", "--wait", "placed", file, "main:/f")
        status = self.me.json("status")
        self.assertEqual((status["redundancy"]["k"], status["redundancy"]["m"]), (2, 2))
        self.assertFalse(status["loss"]["repaired"])  # a fifth node would be needed
        repair = ["--repair", "never"]
        by_program = json.loads(durability("--data", 2, "--parity", 2, "--lifetime", f"{status['loss']['node_lifetime_years']}y", *repair, "--json"))
        self.assertAlmostEqual(status["loss"]["per_pack_and_year"], by_program["markov"])
        self.assertIn("assumed: machines are lost independently", self.me.cairn("status").stdout.decode())
        self.assertIn("no further one to rebuild on", self.me.cairn("status").stdout.decode())
        self.pool.add()  # the code stays 2+2
        self.pool.wait_for(5)
        loss = self.me.json("status")["loss"]
        by_program = json.loads(durability("--data", 2, "--parity", 2, "--lifetime", f"{loss['node_lifetime_years']}y", "--repair",
                                           f"{loss['repair_days']:.0f}d", "--json"))
        self.assertTrue(loss["repaired"])
        self.assertAlmostEqual(loss["per_pack_and_year"] / by_program["markov"], 1, 6)


if __name__ == "__main__":
    unittest.main()
