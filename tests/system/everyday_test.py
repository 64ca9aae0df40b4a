"""What makes backups a habit: profiles, the alarm when a set is stale, the timer's unit, manual pages, completions."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import unittest

from pool import BIN, PoolTest, run


class Profiles(PoolTest):
    NODES = 3

    def setUp(self):
        self.tree = self.folder("tree")
        (self.tree / "sub").mkdir(parents=True)
        (self.tree / "kept").write_text("kept")
        (self.tree / "sub/object.o").write_text("left out")
        (self.tree / "sub/large").write_bytes(bytes(100_000))

    def profiles(self, text):
        (self.me.home / "profiles.toml").write_text(text)

    def names(self, snapshot="latest"):
        lines = self.me.cairn("ls", snapshot, "--json").stdout.decode().splitlines()
        return {pathlib.Path(o["path"]).name for o in map(json.loads, lines) if o.get("type") == "file"}

    def test_a_profile_is_a_set_of_options(self):
        self.profiles(f'[home]\npaths = ["{self.tree}"]\nexclude = ["*.o"]\nexclude-larger-than = "50K"\ntag = ["daily"]\none-file-system = true\n')
        self.me.cairn("backup", "--profile", "home")
        self.assertEqual(self.names(), {"kept"})
        snapshot = self.me.json("snapshots", "latest")[0]
        self.assertEqual(snapshot["tags"], ["daily"])
        self.assertEqual(snapshot["paths"], [str(self.tree)])
        # The command line wins, and lists add up.
        self.me.cairn("backup", "--profile", "home", "--exclude-larger-than", "1M", "--exclude", "kept", "--tag", "by-hand")
        self.assertEqual(self.names(), {"large"})
        self.assertEqual(sorted(self.me.json("snapshots", "latest")[0]["tags"]), ["by-hand", "daily"])

    def test_mistakes_in_profiles_are_named(self):
        for text, said in [('[home]\nexclud = ["*.o"]\n', b"exclud"), ("[home\n", b"profiles.toml"), ('[home]\nmax-age = "soon"\n', b"max-age"),
                           ('[home]\nexclude-larger-than = "much"\n', b"much"), ('[home]\nprofile = "other"\n', b"profile"),
                           ('[home]\npaths = [{a = 1}]\n', b"paths")]:
            self.profiles(text)
            done = self.me.cairn("backup", "--profile", "home", self.tree, expect=2)
            self.assertIn(said, done.stderr, text)
        self.profiles("[home]\n")
        self.assertIn(b"profiles.toml", self.me.cairn("backup", "--profile", "other", expect=10).stderr)

    def test_a_profile_forgets_what_is_old_of_its_own(self):
        self.profiles(f'[mine]\npaths = ["{self.tree}"]\n[mine.forget]\nkeep-last = 2\n')
        self.me.cairn("backup", self.tree / "sub")
        for i in range(4):
            (self.tree / "kept").write_text(str(i))
            self.me.cairn("backup", "--profile", "mine")
        paths = [s["paths"] for s in self.me.json("snapshots")]
        self.assertEqual(paths.count([str(self.tree)]), 2)
        self.assertEqual(paths.count([str(self.tree / "sub")]), 1)

    def test_status_alarms_when_a_set_is_stale(self):
        self.profiles(f'[fresh]\npaths = ["{self.tree}"]\nmax-age = "26h"\n[old]\npaths = ["{self.tree}/sub"]\nmax-age = "26h"\n'
                      f'[never]\npaths = ["{self.tree}"]\nmax-age = "1h"\n[any]\npaths = ["{self.tree}/kept"]\n')
        self.me.cairn("backup", "--profile", "fresh")
        self.me.cairn("backup", "--profile", "old", "--time", "2020-01-01 00:00:00")
        self.me.cairn("backup", "--profile", "any", "--time", "2020-01-01 00:00:00")
        done = self.me.cairn("backup", "--status", "--json", expect=3)
        sets = {s["set"]: s for s in json.loads(done.stdout)["sets"]}
        self.assertEqual({name: sets[name]["state"] for name in ("fresh", "old", "never", "any")},
                         {"fresh": "ok", "old": "stale", "never": "never", "any": "ok"})
        self.assertGreater(sets["old"]["age_seconds"], 5 * 365 * 86400)
        self.assertEqual(sets["old"]["max_age_seconds"], 26 * 3600)
        self.me.cairn("backup", "--status", "--profile", "fresh")
        self.me.cairn("backup", "--status", "--profile", "old", expect=3)
        self.me.cairn("backup", "--status", "--profile", "any", "--max-age", "1h", expect=3)
        text = self.me.cairn("backup", "--status", expect=3).stdout.decode()
        self.assertRegex(text, r"(?m)^old .* stale$")
        # It has made no snapshot.
        self.me.cairn("backup", "--profile", "old")
        self.me.cairn("backup", "--status", "--profile", "old")


class Pages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        import tempfile
        cls.root = pathlib.Path(tempfile.mkdtemp(prefix="cairn-system-"))
        cls.addClassCleanup(shutil.rmtree, cls.root)
        run(BIN / "cairn", "generate", "--man", cls.root / "man", "--bash-completion", cls.root / "bash", "--zsh-completion", cls.root / "_cairn",
            "--fish-completion", cls.root / "fish")
        text = run(BIN / "cairn", "--help").stdout.decode()
        cls.commands = re.findall(r"(?m)^  ([a-z-]+) ", text[text.index("Subcommands:"):])

    def test_every_command_has_its_page(self):
        self.assertIn("backup", self.commands)
        pages = {p.name for p in (self.root / "man").iterdir()}
        for command in self.commands:
            self.assertTrue(f"cairn-{command}.1" in pages or any(p.startswith(f"cairn-{command}-") for p in pages), command)
        page = (self.root / "man/cairn-backup.1").read_text()
        for word in (r"\-\-exclude\-if\-present", "EXIT STATUS", "EXAMPLE"):
            self.assertIn(word, page)
        if not shutil.which("groff"):
            self.skipTest("no groff to set the pages with")
        for page in (self.root / "man").iterdir():
            said = run("groff", "-man", "-Tutf8", "-ww", page)
            self.assertEqual(said.stderr, b"", page.name)

    def complete(self, *words):
        script = (f'source {self.root}/bash; COMP_WORDS=({" ".join(repr(w) for w in words)}); COMP_CWORD={len(words) - 1}; _cairn; '
                  'printf "%s\\n" "${COMPREPLY[@]}"')
        return run("bash", "-c", script).stdout.decode().split()

    def test_bash_completes_commands_and_options(self):
        self.assertEqual(sorted(self.complete("cairn", "")), sorted(self.commands))
        self.assertEqual(self.complete("cairn", "snapsh"), ["snapshots"])
        self.assertEqual(self.complete("cairn", "store", "a"), ["add"])
        self.assertEqual(self.complete("cairn", "store", "add", "--li"), ["--limit"])
        self.assertIn("--exclude-caches", self.complete("cairn", "backup", "--ex"))
        self.assertEqual(self.complete("cairn", "backup", "/et"), [])  # left to the shell: files

    def test_other_shells_understand_their_completions(self):
        for shell, file in [("zsh", "_cairn"), ("fish", "fish")]:
            if shutil.which(shell):
                self.assertEqual(run(shell, "-n", self.root / file).stderr, b"")
        self.assertIn("complete -c cairn", (self.root / "fish").read_text())
        self.assertTrue((self.root / "_cairn").read_text().startswith("#compdef cairn"))

    def test_bad_input(self):
        self.assertIn(b"--man", run(BIN / "cairn", "generate", expect=2).stderr)
        run(BIN / "cairn", "generate", "--man", "/dev/null/x", expect=1)

    def test_the_units_for_systemd_are_understood(self):
        if not shutil.which("systemd-analyze"):
            self.skipTest("no systemd-analyze")
        folder = self.root / "units"
        folder.mkdir()
        scripts = pathlib.Path(__file__).parents[2] / "scripts"
        for kind in ("service", "timer"):
            unit = (scripts / f"cairn-backup@.{kind}").read_text().replace("=cairn ", f"={BIN}/cairn ")
            (folder / f"cairn-backup@home.{kind}").write_text(unit)
        for kind in ("service", "timer"):
            run("systemd-analyze", "--user", "verify", folder / f"cairn-backup@home.{kind}", env={"XDG_RUNTIME_DIR": str(folder), **os.environ})


if __name__ == "__main__":
    unittest.main()
