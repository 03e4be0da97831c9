"""Networks as estimators of scikit-learn (``pip install 'rollc[sklearn]'``)::

    from rollc.sklearn import Forecaster, SequenceClassifier, SequenceRegressor

    classifier = SequenceClassifier("sequences/answer", H=32).fit(X, y)  # X: [n, steps, features]
    classifier.predict_proba(X)

They are cloned, pickled, searched by ``GridSearchCV`` and put behind other steps of a pipeline like
any other; the sizes of a spec are parameters, beside those of :func:`rollc.fit`.
"""

from __future__ import annotations

try:
    import sklearn as _sklearn  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "sklearn":
        raise
    raise ImportError(
        "rollc.sklearn needs scikit-learn, which is not installed: pip install 'rollc[sklearn]'"
    ) from None


from rollc.sklearn.forecaster import Forecaster
from rollc.sklearn.supervised import SequenceClassifier, SequenceRegressor

__all__ = ["Forecaster", "SequenceClassifier", "SequenceRegressor"]
