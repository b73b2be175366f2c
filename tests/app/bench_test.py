"""`edgellm bench`: the figures that it prints hang together; speed itself is nothing that a test can hold to."""

import unittest

from program import ProgramTest, make_model


class Bench(ProgramTest):
    def test_a_model(self):
        model = make_model(self.folder / "model")
        result = self.succeed_json("bench", model, "--contexts", "16,40", "--prefill", "24", "--tokens", "4", "--rounds", "2",
                                   "--itl", "30", "--threads", "1")
        self.assertEqual([figure["context"] for figure in result["decode"]], [16, 40])
        for figure in result["decode"]:
            rate = figure["tok_s"]
            self.assertLess(0, rate["min"])
            self.assertLessEqual(rate["min"], rate["median"])
            self.assertLessEqual(rate["median"], rate["max"])
            # Bytes a token of this model reads, times tokens a second.
            self.assertGreater(figure["gb_s"], result["bytes_per_token"] * rate["median"] / 1e9)
            self.assertAlmostEqual(figure["share"], figure["gb_s"] / result["read_gb_s"])
        self.assertEqual(result["prefill"][0]["tokens"], 24)
        self.assertEqual(result["itl_ms"]["tokens"], 30)
        self.assertLessEqual(result["itl_ms"]["p50"], result["itl_ms"]["max"])
        self.assertEqual((result["allocations"], result["page_faults"]["major"]), (0, 0))
        self.assertEqual([step["step"] for step in result["steps"]],
                         ["embed", "qkv", "attend", "attention out", "gate and up", "ffn out", "head"])
        text = self.succeed("bench", model, "--contexts", "16", "--prefill", "8", "--itl", "0", "--tokens", "2").decode()
        self.assertRegex(text, r"(?m)^decode at 16 +\d")

    def test_shapes(self):
        self.succeed("bench", "--shape", "smollm-135m", "--format", "ternary", "--head", "int4-g64", "--save", "s.edgellm")
        details = self.succeed_json("inspect", "s.edgellm")
        self.assertEqual(details["config"]["hidden"], 576)
        formats = {tensor["name"]: tensor["format"] for tensor in details["tensors"]}
        self.assertEqual(formats["model.layers.0.mlp.up_proj.weight"], "ternary")
        self.assertEqual(formats["model.embed_tokens.weight"], "int4-g64")
        self.assertIn("there are smollm-135m", self.refuse("bench", "--shape", "gpt-9"))
        self.assertIn("either a model or --shape", self.refuse("bench"))
        self.assertIn("must end in", self.refuse("bench", "--shape", "smollm-135m", "--save", "x.bin"))
        self.assertIn("needs the name", self.refuse("bench", "--endpoint", "http://127.0.0.1:9"))
        self.assertIn("127.0.0.1:9", self.refuse("bench", "some", "--endpoint", "http://127.0.0.1:9"))

    def test_many_users(self):
        model = make_model(self.folder / "model")
        result = self.succeed_json("bench", model, "--users", "--users-count", "3", "--users-shared", "40", "--users-streams", "2",
                                   "--users-context", "8", "--users-long", "30", "--users-gaps", "2", "--rounds", "1", "--threads", "1")
        self.assertEqual((result["shared_prompt"]["users"], result["long_prompt"]["context"]), (3, 8))
        self.assertLess(0, result["long_prompt"]["itl_beside_ms"]["p50"])
        text = self.succeed("bench", model, "--users", "--users-streams", "0", "--users-count", "2", "--users-shared", "20", "--rounds",
                            "1", "--threads", "1").decode()
        self.assertIn("2 users over one prompt of 20 tokens", text)
        self.assertNotIn("streams", text)
        self.assertIn("two users or more", self.refuse("bench", model, "--users", "--users-count", "1"))
        self.assertIn("/v1/completions", self.refuse("bench", "m", "--users", "--endpoint", "http://127.0.0.1:9/api/chat"))


if __name__ == "__main__":
    unittest.main()
