"""The conversation at the terminal, under a pseudo-terminal: prompts, commands, history, Ctrl-C, Ctrl-D."""

import os
import signal
import unittest

from program import ProgramTest, Terminal, make_model, needs_terminal

PROMPT = r">>> "
# What the model says is arbitrary; so turns are told apart by what is drawn around them.


@needs_terminal
class Conversation(ProgramTest):
    def setUp(self):
        super().setUp()
        self.model = make_model(self.folder / "model", context=1 << 16)

    def start(self, *arguments):
        terminal = Terminal(["run", self.model, "--temperature", "0", *arguments], self.environment, self.folder)
        self.addCleanup(terminal.close)
        terminal.wait_for(r"/\? for help")
        terminal.wait_for(PROMPT)
        return terminal

    def ask(self, terminal, text):
        terminal.type(text + "\r")
        return terminal.wait_for(rf"(.*?)\r?\n{PROMPT}").group(1)

    def prompt_tokens(self, terminal, text):
        """How many tokens the model was given for this turn."""
        terminal.type(text + "\r")
        count = int(terminal.wait_for(r"prompt eval count: +(\d+) token").group(1))
        terminal.wait_for(PROMPT)
        return count

    def test_ctrl_d_and_bye_leave(self):
        terminal = self.start()
        self.assertEqual(terminal.press_ctrl_d(), 0)
        terminal = self.start()
        terminal.type("/bye\r")
        self.assertEqual(terminal.wait_end(), 0)

    def test_answers_and_remembers(self):
        terminal = self.start("-n", "8", "--verbose")
        first = self.prompt_tokens(terminal, "One")
        second = self.prompt_tokens(terminal, "Two")
        # The second prompt holds the first turn and its answer of about eight bytes (broken ones grow to three).
        self.assertGreaterEqual(second, 2 * first)
        self.assertIn("Cleared", self.ask(terminal, "/clear"))
        self.assertEqual(self.prompt_tokens(terminal, "One"), first)
        self.ask(terminal, "/clear")
        self.ask(terminal, "/set system Be brief.")
        with_system = self.prompt_tokens(terminal, "One")
        self.assertEqual(with_system, first + len("\x01system\nBe brief.\x01\n"))

    def test_ctrl_c_stops_the_answer_and_not_the_program(self):
        terminal = self.start("--ctx", str(1 << 16))
        terminal.type("Go on for ever\r")
        terminal.wait_for(r"for ever\r\n.{20}")
        for _ in range(3):  # an impatient hand
            terminal.type("\x03")
        terminal.wait_for(PROMPT, seconds=10)
        terminal.type("/set verbose\r")  # of the hand's signals one may have reached the prompt, which then says so first
        terminal.wait_for("Set 'verbose' mode")
        terminal.wait_for(PROMPT)
        self.ask(terminal, "/set parameter num_predict 3")
        self.assertGreater(self.prompt_tokens(terminal, "Again"), 0)
        terminal.type("/bye\r")
        self.assertEqual(terminal.wait_end(), 0)

    def test_ctrl_c_at_the_prompt_drops_the_line(self):
        terminal = self.start("-n", "4", "--verbose")
        terminal.type("half a li")
        terminal.wait_for("half a li")
        terminal.type("\x03")
        terminal.wait_for(r"Use Ctrl \+ d or /bye to exit")
        terminal.wait_for(PROMPT)
        self.assertEqual(self.prompt_tokens(terminal, "Hi"), len("\x01user\nHi\x01\n\x01assistant\n"))
        os.kill(terminal.process, signal.SIGTERM)
        self.assertEqual(terminal.wait_end(), -signal.SIGTERM)

    def test_several_lines(self):
        terminal = self.start("-n", "4", "--verbose")
        terminal.type('"""one\r')
        terminal.wait_for(r"\.\.\. ")
        terminal.type("two\r")
        terminal.wait_for(r"\.\.\. ")
        terminal.type('three"""\r')
        count = int(terminal.wait_for(r"prompt eval count: +(\d+) token").group(1))
        self.assertEqual(count, len("\x01user\none\ntwo\nthree\x01\n\x01assistant\n"))

    def test_characters_of_any_width(self):
        terminal = self.start("-n", "4", "--verbose")
        self.assertEqual(self.prompt_tokens(terminal, "Grüße 世界"),
                         len("\x01user\nGrüße 世界\x01\n\x01assistant\n".encode()))

    def test_set_and_show(self):
        terminal = self.start("-n", "4")
        self.assertIn("Set parameter 'top_k' to '7'", self.ask(terminal, "/set parameter top_k 7"))
        shown = self.ask(terminal, "/show parameters")
        self.assertRegex(shown, r"top_k +7")
        self.assertRegex(shown, r"num_predict +4")
        self.assertIn("must be of type integer", self.ask(terminal, "/set parameter top_k many"))
        self.assertIn("unknown option", self.ask(terminal, "/set parameter heat 1"))
        self.assertIn("--ctx 100", self.ask(terminal, "/set parameter num_ctx 100"))
        self.assertIn("No system message", self.ask(terminal, "/show system"))
        self.ask(terminal, "/set system Talk like a sailor")
        self.assertIn("Talk like a sailor", self.ask(terminal, "/show system"))
        self.assertIn("<|im_start|>", self.ask(terminal, "/show template"))
        self.assertRegex(self.ask(terminal, "/show info"), r"architecture +llama")
        self.assertIn("/set parameter", self.ask(terminal, "/?"))
        self.assertIn("unknown command '/what'", self.ask(terminal, "/what"))
        self.assertIn("error: /show takes", self.ask(terminal, "/show"))

    def test_history_is_kept_for_the_next_session(self):
        terminal = self.start("-n", "4")
        self.ask(terminal, "remember me")
        self.ask(terminal, "and me")
        terminal.press_ctrl_d()
        history = self.home / ".edgellm" / "history"
        self.assertEqual(history.stat().st_mode & 0o777, 0o600)
        terminal = self.start("-n", "4")
        terminal.type("\x1b[A\x1b[A")  # up, up
        terminal.wait_for("remember me")
        terminal.type("\x15")  # erase the line
        self.ask(terminal, "/set nohistory")
        self.ask(terminal, "secret")
        terminal.press_ctrl_d()
        self.assertNotIn("secret", history.read_text())
        self.environment["EDGELLM_NOHISTORY"] = "1"
        terminal = self.start("-n", "4")
        self.ask(terminal, "secret")
        terminal.press_ctrl_d()
        self.assertNotIn("secret", history.read_text())

    def test_a_full_context_is_told_with_numbers(self):
        terminal = self.start("--ctx", "64")
        terminal.type("Hello\r")
        terminal.wait_for(r"context of 64 positions is full: 24 tokens of prompt, 40 of answer; --ctx takes up to 65536")
        terminal.wait_for(PROMPT)
        answer = self.ask(terminal, "And then?")
        self.assertRegex(answer, r"error: the conversation has \d+ tokens and the context 64: /clear begins anew")
        self.ask(terminal, "/clear")
        terminal.type("Hello\r")
        terminal.wait_for(r"24 tokens of prompt")

    def test_a_model_without_template(self):
        plain = make_model(self.folder / "plain", chat_template=None)
        terminal = Terminal(["run", plain, "--temperature", "0", "-n", "4", "--verbose"], self.environment, self.folder)
        self.addCleanup(terminal.close)
        terminal.wait_for("no chat template")
        terminal.wait_for(PROMPT)
        for _ in range(2):  # each prompt by itself
            self.assertEqual(self.prompt_tokens(terminal, "Hello"), 5)
        self.assertIn("needs a chat template", self.ask(terminal, "/set system x"))

    def test_one_answer_on_a_terminal_ends_with_a_newline(self):
        terminal = Terminal(["run", self.model, "Hello", "-n", "4", "--temperature", "0"], self.environment, self.folder)
        self.addCleanup(terminal.close)
        self.assertEqual(terminal.wait_end(), 0)
        self.assertTrue(terminal.text.endswith("\r\n"), terminal.text)


if __name__ == "__main__":
    unittest.main()
