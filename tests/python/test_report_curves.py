"""tools/report: figures of attacks, votes and theorem_lsn, on small results whose answers are known."""

import dataclasses
import tempfile
import unittest

import numpy as np

import report_case  # first: it puts the tools on the path
import synthetic_case
import synthetic_result
from report_lib import attack_figures, curve_figures, figures, overview, page, style
from report_lib.loading import ReportError, load_result


class Attacks(report_case.Small):
    def test_shares_are_those_before_the_rotation(self):
        random = np.random.default_rng(1)
        rotation = synthetic_case.haar(5, random)
        before = np.array([[3.0, 4.0, 0.0, 0.0, 0.0], [0.0] * 5])
        shares = attack_figures.row_shares(attack_figures.unrotated(before @ rotation, rotation))
        np.testing.assert_allclose(shares, [[0.6, 0.8, 0, 0, 0], [0] * 5], atol=1e-12)
        np.testing.assert_array_equal(attack_figures.unrotated(before, None), before)

    def test_heat_map_shows_the_first_rows_by_class(self):
        case = self.load().cases[0]
        figure, caption = attack_figures.draw_perturbations(case)
        axis = figure.axes[0]
        shown = axis.images[0].get_array()
        self.assertEqual(shown.shape, (100, 6))
        np.testing.assert_allclose(np.linalg.norm(shown, axis=1), 1, rtol=1e-5)
        self.assertGreater(float(shown[:, 0].min()), 0.9)
        labels = case.arrays["scores/labels"][0, :100]
        zeros = int((labels == 0).sum())
        self.assertEqual(axis.lines[0].get_ydata()[0], zeros - 0.5)
        self.assertEqual([tick.get_text() for tick in axis.get_yticklabels()], ["y = 0", "y = 1"])
        delta = case.arrays["pgd/perturbation"][0] @ case.arrays["rotation"][0].T
        order = np.argsort(labels, kind="stable")
        np.testing.assert_allclose(
            shown[7], np.abs(delta[order[7]]) / np.linalg.norm(delta[order[7]]), rtol=1e-5
        )
        share = np.mean(np.abs(delta[:, 0]) / np.linalg.norm(delta, axis=1))
        self.assertIn(f"lies {share:.4f} of it", caption)

    def test_heat_map_without_labels_or_rotation(self):
        case = self.load().cases[0]
        arrays = {key: case.arrays[key] for key in ("pgd/perturbation",)}
        figure, _ = attack_figures.draw_perturbations(dataclasses.replace(case, arrays=arrays))
        self.assertEqual(figure.axes[0].get_xlabel(), "coordinate")
        self.assertEqual(figure.axes[0].get_ylabel(), "test row")
        self.assertEqual(len(figure.axes[0].lines), 0)

    def test_rows_that_stay_have_no_share(self):
        case = self.load().cases[0]
        delta = np.array([[[3.0, 4.0, 0.0], [0.0, 0.0, 0.0]]])
        for factor, said in ((1, "On S lies 0.6000 of it, on average over 1 moved row."), (0, "No row was moved.")):
            arrays = {"pgd/perturbation": factor * delta}
            _, caption = attack_figures.draw_perturbations(dataclasses.replace(case, arrays=arrays))
            self.assertTrue(caption.endswith(said), caption)
        universal = {"as_uap/perturbation": np.concatenate([delta[0], delta[0]])}
        figure, caption = attack_figures.draw_universal(dataclasses.replace(case, arrays=universal))
        np.testing.assert_allclose([bar.get_height() for bar in figure.axes[0].patches], [0.6, 0.8, 0])
        self.assertIn("mean over 2 members", caption)

    def test_bars_are_the_shares_of_the_kept_members(self):
        case = self.load().cases[0]
        figure, caption = attack_figures.draw_universal(case)
        bars, spectrum = figure.axes
        rotation = case.arrays["rotation"]
        self.assertIn("3 members", caption)
        expected = []
        for name in ("svd_uap", "as_uap"):
            before = [u @ w.T for u, w in zip(case.arrays[f"{name}/perturbation"], rotation)]
            expected += list(np.mean([np.abs(u) / np.linalg.norm(u) for u in before], axis=0))
        np.testing.assert_allclose([bar.get_height() for bar in bars.patches], expected, rtol=1e-5)
        self.assertGreater(expected[0], 0.99)
        values = case.arrays["svd_uap/singular_values"]
        self.assertEqual(len(spectrum.lines), 5)
        np.testing.assert_allclose(spectrum.lines[2].get_ydata(), values[2] / values[2, 0])

    def test_one_universal_perturbation_is_enough(self):
        case = self.load().cases[0]
        arrays = {"as_uap/perturbation": case.arrays["as_uap/perturbation"]}
        figure, caption = attack_figures.draw_universal(dataclasses.replace(case, arrays=arrays))
        self.assertEqual((len(figure.axes), len(figure.axes[0].patches)), (1, 6))
        self.assertIn("5 members", caption)  # without a rotation every member's frame is known
        zero = {"svd_uap/perturbation": np.zeros((2, 6)), "svd_uap/singular_values": np.zeros((2, 6))}
        figure, _ = attack_figures.draw_universal(dataclasses.replace(case, arrays=zero))
        self.assertEqual({bar.get_height() for bar in figure.axes[0].patches}, {0.0})

    def test_pages_without_attacks_do_not_miss_them(self):
        case = self.load().cases[0]
        arrays = {key: array for key, array in case.arrays.items() if "pgd" not in key and "uap" not in key}
        plates, notes = figures.case_plates(dataclasses.replace(case, arrays=arrays))
        self.assertNotIn("universal", [plate.key for plate in plates])
        self.assertEqual(notes, [])

    def test_arrays_of_another_dimension_are_refused(self):
        arrays = dict(self.arrays)
        arrays["LMS-5/svd_uap/perturbation"] = np.zeros((5, 7), np.float32)
        with self.assertRaisesRegex(ReportError, "svd_uap/perturbation has size 7"):
            self.load(arrays=arrays)


class Made(unittest.TestCase):
    """Results of other experiments than extreme_slab."""

    @classmethod
    def setUpClass(cls):
        style.apply_settings()

    def result(self, made):
        folder = tempfile.TemporaryDirectory(prefix="occam-report-")
        self.addCleanup(folder.cleanup)
        return load_result(synthetic_result.write(folder.name, *made))

    def test_cases_that_differ_in_epsilon_make_one_curve(self):
        cases = self.result(synthetic_result.make_epsilons()).cases
        groups = curve_figures.epsilon_groups(cases)
        self.assertEqual(
            [(name, key) for name, key, _ in groups],
            [("LMS-5", "attack_epsilon"), ("MS-(5,7)", "attack_epsilon")],
        )
        self.assertEqual([epsilon for epsilon, _ in groups[1][2]], [0.0, 0.1, 0.25, 0.5, 1.0])
        figure, caption = curve_figures.draw_epsilons(list(reversed(cases)))
        self.assertIn("5 seeds", caption)
        last = figure.axes[1].containers
        self.assertEqual([curve.get_label() for curve in last], ["no attack", "PGD", "SVD-UAP"])
        drawn = last[1].lines[0]
        self.assertEqual(list(drawn.get_xdata()), [0.0, 0.1, 0.25, 0.5, 1.0])
        lms = [case for case in cases if case.name.startswith("LMS-5")]
        np.testing.assert_allclose(
            list(drawn.get_ydata()), [case.metrics["pgd_accuracy"].mean() for case in lms]
        )

    def test_training_without_an_adversary_is_its_zero(self):
        one = self.result(synthetic_result.make_epsilons()).cases[0]

        def case(name, epsilon, attack, **more):
            config = {"lr": 0.1, "attack_epsilon": attack}
            if epsilon:
                config = {"lr": 0.1, "adversary_epsilon": epsilon, "adversary_norm": "l2", "attack_epsilon": attack}
            return dataclasses.replace(one, name=name, config={**config, **more})

        # One of the radii is that of the test.
        cases = [case(f"adversary-epsilon={epsilon}", epsilon, 0.2) for epsilon in (0, 0.01, 0.05, 0.2)]
        (name, key, members), = curve_figures.epsilon_groups(cases)
        self.assertEqual((name, key), ("", "adversary_epsilon"))
        self.assertEqual([epsilon for epsilon, _ in members], [0, 0.01, 0.05, 0.2])
        self.assertIs(members[0][1], cases[0])
        self.assertEqual(len(curve_figures.epsilon_groups([case("other", 0, 0.2, lr=0.3)] + cases[1:])[0][2]), 3)
        together = [case(f"(8,2) epsilon {epsilon}", epsilon, epsilon) for epsilon in (0.05, 0.1)]
        (name, key, members), = curve_figures.epsilon_groups(together)
        self.assertEqual((name, key, len(members)), ("(8,2)", "adversary_epsilon", 2))

    def test_other_differences_are_no_curve(self):
        cases = self.result(synthetic_result.make_epsilons()).cases[:2]
        self.assertEqual([plate.key for plate in overview.overview_plates(cases)], ["epsilon"])
        apart = dataclasses.replace(cases[1], config={**cases[1].config, "lr": 0.3})
        self.assertEqual(overview.overview_plates([cases[0], apart]), [])
        bare = [dataclasses.replace(case, metrics={"standard_accuracy": np.ones(5)}) for case in cases]
        self.assertEqual(overview.overview_plates(bare), [])

    def test_votes_are_read_by_size_and_combiner(self):
        case = self.result(synthetic_result.make_votes()).cases[0]
        table = curve_figures.vote_table(case, "standard_accuracy")
        self.assertEqual(
            {name: sorted(by) for name, by in table.items()},
            {"average": [1, 3, 5, 10], "linear": [1, 3, 5, 10]},
        )
        self.assertIs(table["average"][3], case.metrics["standard_accuracy"])
        self.assertIs(table["linear"][3], case.metrics["standard_accuracy_3_linear"])
        self.assertEqual(curve_figures.vote_table(case, "standard_auc"), {})
        explicit = dataclasses.replace(
            case,
            config={},
            metrics={
                "vote3_average_standard_accuracy": np.ones(5),
                "vote10_mlp_standard_accuracy": np.zeros(5),
            },
        )
        table = curve_figures.vote_table(explicit, "standard_accuracy")
        self.assertEqual({name: list(by) for name, by in table.items()}, {"average": [3], "mlp": [10]})
        # One combiner, several sizes: names carry the size alone.
        sizes = dataclasses.replace(
            case,
            config={"vote_sizes": [10, 5], "combiners": ["average"]},
            metrics={"standard_accuracy": np.ones(5), "standard_accuracy_5": np.zeros(5)},
        )
        self.assertEqual(sorted(curve_figures.vote_table(sizes, "standard_accuracy")["average"]), [5, 10])

    def test_votes_are_drawn_over_their_sizes(self):
        case = self.result(synthetic_result.make_votes()).cases[0]
        plates, _ = figures.case_plates(case)
        plate = next(plate for plate in plates if plate.key == "votes")
        standard, randomized = plate.figure.axes
        self.assertEqual([c.get_label() for c in standard.containers], ["average", "linear"])
        line = standard.containers[0].lines[0]
        self.assertEqual(list(line.get_xdata()), [1, 3, 5, 10])
        self.assertAlmostEqual(line.get_ydata()[1], case.metrics["standard_accuracy"].mean())
        self.assertIn(0.75, [line.get_ydata()[0] for line in standard.lines])
        self.assertIn("dashed", plate.caption)
        self.assertEqual(len(randomized.containers), 2)
        plain_case = dataclasses.replace(case, config={})
        self.assertNotIn("votes", [plate.key for plate in figures.case_plates(plain_case)[0]])

    def test_scores_of_the_identities_are_counted(self):
        result = self.result(synthetic_result.make_lsn())
        case = result.cases[0]
        figure, caption = curve_figures.draw_identities(case)
        found = [array.ravel() for key, array in case.arrays.items() if key.startswith("identities")]
        scores = np.concatenate(found)
        self.assertEqual(scores.size, 4 * 500)
        self.assertIn(f"2,000 scores, the largest {np.abs(scores).max():.2f}", caption)
        steps = [patch for patch in figure.axes[1].patches if hasattr(patch, "get_data")]
        self.assertEqual(len(steps), 4)
        values, edges, _ = steps[0].get_data()
        self.assertAlmostEqual(float((values * np.diff(edges)).sum()), 1.0)
        never = {
            key: np.full_like(array, np.nan) if "moved" in key else array
            for key, array in case.arrays.items()
        }
        figure, _ = curve_figures.draw_identities(dataclasses.replace(case, arrays=never))
        self.assertEqual(len(figure.axes[1].get_legend().get_texts()), 1)
        self.assertIsNone(curve_figures.draw_identities(dataclasses.replace(case, arrays={})))

    def test_scaling_is_drawn_with_its_slopes(self):
        result = self.result(synthetic_result.make_lsn())
        plates = {plate.key: plate for plate in overview.overview_plates(result.cases)}
        self.assertEqual(list(plates), ["overview", "settings", "scaling"])
        axis = plates["scaling"].figure.axes[0]
        self.assertEqual((axis.get_xscale(), axis.get_yscale()), ("log", "log"))
        texts = [text.get_text() for text in axis.get_legend().get_texts()]
        self.assertTrue(texts[0].endswith("slope -1.00 ± 0.00"), texts)
        line = axis.containers[1].lines[0]
        self.assertEqual(list(line.get_xdata()), [20, 50, 100, 200])
        np.testing.assert_allclose(
            list(line.get_ydata()), [case.metrics["rest_over_w1"].mean() for case in result.cases[:4]]
        )
        # The summary has no dimension and no accuracy: it is no case of the forest.
        labels = [label.get_text() for label in plates["overview"].figure.axes[0].get_yticklabels()]
        self.assertEqual(labels, [case.name for case in result.cases[:4]])
        self.assertIsNone(curve_figures.draw_scaling(result.cases[:1]))

    def test_a_page_of_theorem_lsn_is_whole(self):
        text = page.render(self.result(synthetic_result.make_lsn()))
        for words in ("scaling over d", "largest |z| of the identities", "slope of ln(‖w̄‖"):
            self.assertIn(words, text)


if __name__ == "__main__":
    unittest.main()
