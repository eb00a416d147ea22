"""What each unseen class adds to a run's measures: of these, intervals over classes are drawn."""

import numpy as np
import pandas as pd

from hier.evaluation.retrieval.queries_and_gallery import Retrieval

COLUMNS = ["label", "measure", "queries", "value"]


def by_class(retrieval: Retrieval, names: dict[str, str]) -> pd.DataFrame:
    """A row per class and measure, with COLUMNS: the class's label, the measure's name (`names` gives them by
    their keys in metrics.json), how many of its queries are judged, and their mean in percent. Classes of
    which no query is judged are left out. The mean of all, weighted by `queries`, is the run's value."""
    labels = retrieval.index["label"].to_numpy()[retrieval.query]
    found = []
    for key, values in retrieval.of_queries().items():
        judged = ~np.isnan(values)
        of_class = pd.Series(100 * values[judged]).groupby(labels[judged]).agg(["size", "mean"])
        rows = (
            of_class.rename(columns={"size": "queries", "mean": "value"}).rename_axis("label").reset_index()
        )
        found.append(rows.assign(measure=names[key])[COLUMNS])
    return pd.concat(found, ignore_index=True)
