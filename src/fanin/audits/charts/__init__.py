"""What an audit found, as charts."""

from fanin.audits.charts.density import spark
from fanin.audits.charts.singular import is_orthogonal
from fanin.audits.charts.tensors import alike, charts_of, charts_of_all, featured, pictures_of

__all__ = ["alike", "charts_of", "charts_of_all", "featured", "is_orthogonal", "pictures_of", "spark"]
