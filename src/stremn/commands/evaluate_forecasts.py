"""``stremn evaluate`` for a prediction model: predict every clip of a data set and score it."""

from pathlib import Path

from stremn.commands.forecast_runs import SUMS, convention_facts, predict_rows, shown
from stremn.commands.report import new_table, show
from stremn.files import write_json
from stremn.metrics.prediction.frames import FIGURES
from stremn.models import Predictor
from stremn.tables.forecast_rows import ForecastRow, copy_row
from stremn.tables.prediction import ForecastSetting, ForecastTrial
from stremn.tables.trained import read_training

__all__ = ["score_predictor"]


def score_predictor(
    name: str,
    model: Predictor,
    setting: ForecastSetting,
    policy: str | None = None,
    slots: int | None = None,
    seed: int = 0,
    *,
    report: Path | None = None,
) -> None:
    """Print the figures of a model beside those of copying the last observed frame.

    Args:
        name: of the model, as it was given.
        model: with its weights.
        setting: the clips, the model by its digest, where it runs.
        policy: of its memory; ``None`` is the model's.
        slots: K; ``None`` is the model's.
        seed: of a policy that draws random numbers.
        report: JSON file to write.

    Raises:
        StremnError: on settings of the memory that cannot be, or data that cannot be read.
    """
    rules, clips, digest = model.rules(slots, policy), setting.clips, next(iter(setting.models))
    trial = ForecastTrial(digest)
    if rules is not None:
        seed = seed if rules.policy.draws else 0
        trial = ForecastTrial(digest, rules.policy.name, rules.layout.slots, seed)
    rows = [ForecastRow(Path(name).name, (trial,), name, read_training(name)), copy_row()]
    outcome = predict_rows("evaluate", setting, rows)
    table = new_table(None, *(line.name for line in outcome.lines))
    figures = outcome.lines[0].figures
    for figure in figures:
        table.add_row(FIGURES[figure].label, *(shown(figure, line.mean(figure)) for line in outcome.lines))
    facts = {"data": clips.note, "figures": SUMS} | convention_facts(figures)
    show(table, facts=facts)
    print(f"{outcome.frames} frames predicted in {outcome.seconds:.0f} s")
    if report is not None:
        found = {"model": name, "weights_sha256": digest, "facts": facts}
        write_json(report, found | {"rows": [line.to_dict() for line in outcome.lines]} | outcome.report())
