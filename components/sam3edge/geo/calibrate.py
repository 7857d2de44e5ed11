"""A fixed camera from ground control points: least squares, with outliers left out, and how far off it may be.

Both the pixels and the places of control points have errors. So what is minimised is not the plain distance in pixels,
but that distance in units of the standard deviation that both errors together give it there (total least squares to
first order; Hartley and Zisserman, Multiple View Geometry, sections 4.2.6 and 5.2). The start is the normalised direct
linear transform (section 4.4.4) of the four points with which most others agree, by the median of their residuals
(Rousseeuw, Least Median of Squares Regression, JASA 79, 1984): of the points beyond four, fewer than half may be wrong.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sam3edge.core.errors import GeoreferenceError
from sam3edge.core.georeference import Georeference, Points
from sam3edge.geo.camera import GroundCamera, Matrix, homogeneous, projected
from sam3edge.geo.control_points import ControlPoint, called, pixels_of, positions_of, require_spread
from sam3edge.geo.lens import Lens, NoLens
from sam3edge.geo.lensed import through
from sam3edge.geo.plane import LocalPlane
from sam3edge.geo.pose import derivative_of

MIN_FOR_OUTLIERS = 7
"""Of six, four are on the side of a wrong one as likely as on that of a right one: four fit anything."""

NO_LENS = NoLens()

MAX_SAMPLES = 200
MAX_STEPS = 100

MEDIAN = 1.3863
P95 = 5.9915
LIMIT = 13.816
"""Median, 95th and 99.9th percentile of chi squared with two degrees of freedom."""

SINGULAR = 1e-14
"""A covariance whose smaller variance is less than this share of the larger one is known too little to be inverted."""

SMALLEST = 1e-9
"""Pixels: nobody marks points more exactly, and the squares of smaller numbers are 0."""

HORIZON_DISTANCE = 3.0
"""Pixels: a control point nearer to the fitted horizon than this says nothing about the ground."""


@dataclass(frozen=True, slots=True)
class PointAccuracy:
    """Standard deviations of control points: of the marks in the picture, pixels, and of the places, metres."""

    pixels: float = 1.0
    metres: float = 0.2

    def __post_init__(self) -> None:
        if not (SMALLEST <= self.pixels < 1000 and 0 <= self.metres < 1000):
            raise GeoreferenceError(
                f"expected accuracies of {SMALLEST:g} to 1000 pixels and 0 to 1000 m, got {self.pixels} pixels and "
                f"{self.metres} m"
            )


@dataclass(frozen=True, slots=True)
class Residual:
    """How well one control point fits.

    Attributes:
        point: it.
        pixels: between the mark and where the fitted camera shows the place.
        metres: between the place and where the fitted camera puts the mark.
        used: False for an outlier.
    """

    point: ControlPoint
    pixels: float
    metres: float
    used: bool


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """A fitted camera.

    Attributes:
        camera: what places pixels of the ideal picture.
        lens: through which the frames show it.
        residuals: a control point each, in their order.
        scale: by how much larger the residuals are than the stated accuracies say; 1 where they are not.
    """

    camera: GroundCamera
    lens: Lens
    residuals: tuple[Residual, ...]
    scale: float

    @property
    def georeference(self) -> Georeference:
        """What places pixels of the frames."""
        return through(self.lens, self.camera)


def calibrate(
    points: Sequence[ControlPoint],
    size: tuple[int, int],
    accuracy: PointAccuracy,
    lens: Lens = NO_LENS,
) -> Calibration:
    """Fit a camera to control points.

    Args:
        points: four or more, all on the ground.
        size: width and height of the camera's frames, pixels.
        accuracy: what to expect of them; larger residuals make the stated accuracy of the camera worse.
        lens: of the camera.

    Raises:
        GeoreferenceError: the points do not determine it: too few, duplicated, on a line, on the horizon, seen from
            below, or where the lens is not to be trusted.
    """
    try:
        return _calibrated(points, size, accuracy, lens)
    except np.linalg.LinAlgError as error:
        raise GeoreferenceError(
            "no camera can be computed from the control points: too many are nearly on one line, or on the horizon; "
            "add some elsewhere"
        ) from error


def _calibrated(
    points: Sequence[ControlPoint], size: tuple[int, int], accuracy: PointAccuracy, lens: Lens
) -> Calibration:
    if not points:
        raise GeoreferenceError("expected 4 control points or more, got 0; add some")
    pixels, positions = pixels_of(points), positions_of(points)
    plane = LocalPlane(*_middle(positions))
    ground = plane.to_plane(positions)
    require_spread(points, size, ground)
    ideal = lens.ideal(pixels)
    for number in np.flatnonzero(~np.isfinite(ideal).all(axis=1)):
        raise GeoreferenceError(
            f"control point {called(points, int(number))} is where the lens cannot be inverted; choose one that is "
            "nearer to the middle of the frame"
        )
    by_mark = lens.derivative(pixels)
    fit = _Fit(ideal, ground, accuracy.pixels**2 * by_mark @ by_mark.transpose(0, 2, 1), accuracy.metres)
    used = np.ones(len(points), bool)
    start = fit.direct(used)
    if len(points) >= MIN_FOR_OUTLIERS:
        start, used = _most_agreed(fit)
    _require_in_front(points, used, fit.squares(start))
    parameters = fit.refined(start, used)
    for _ in range(len(points)):
        if len(points) < MIN_FOR_OUTLIERS:
            break
        agreeing = _told_apart(fit.squares(parameters) < LIMIT * fit.scale(parameters, used) ** 2)
        if np.array_equal(agreeing, used):
            break
        used = agreeing
        parameters = fit.refined(parameters, used)
    kept = [p for p, is_used in zip(points, used, strict=True) if is_used]
    require_spread(kept, size, ground[used])
    scale = fit.scale(parameters, used)
    derivative = derivative_of(lambda at: np.linalg.inv(fit.matrix(at)), parameters)
    covariance = fit.covariance(parameters, used) * _spread(scale, used)
    camera = GroundCamera(size, plane, fit.matrix(parameters), derivative @ covariance @ derivative.T)
    _require_below_horizon(points, used, camera.below_horizon(ideal))
    in_picture = np.hypot(*(lens.shown(projected(camera.to_pixel, ground)) - pixels).T)
    on_ground = np.hypot(*(projected(camera.to_ground, ideal) - ground).T)
    residuals = zip(points, in_picture, on_ground, used, strict=True)
    return Calibration(camera, lens, tuple(Residual(p, float(x), float(g), bool(u)) for p, x, g, u in residuals), scale)


def _spread(scale: float, used: npt.NDArray[np.bool_]) -> float:
    """By how much larger a covariance is than the stated accuracies make it.

    Where residuals are larger than these, or points were chosen by them, how good the points are is known from the
    residuals only, so that a radius of 95 % is by the distribution of F instead of chi squared, with two degrees of
    freedom above: of it, that percentile is freedom / 2 * (0.05^(-2 / freedom) - 1). What was left out takes a point
    away twice: as itself, and since the others were chosen to agree without it.
    """
    freedom = 2 * _surplus(used)
    if freedom == 0 or (scale <= 1.0 and used.all()):
        return 1.0
    return float(scale**2 * freedom * (0.05 ** (-2 / freedom) - 1) / P95)


def _surplus(used: npt.NDArray[np.bool_]) -> int:
    """How many points there are beyond four, and beyond those against which they were chosen."""
    return int(used.sum()) - int((~used).sum()) - 4


class _Fit:
    """The homography from the ground to pixels, by eight numbers: both sides normalised, the ninth is 1.

    Args:
        pixels: [n, 2], of the ideal picture.
        ground: [n, 2], metres.
        spread: [n, 2, 2], covariance of the pixels.
        metres: standard deviation of the ground's.
    """

    def __init__(self, pixels: Points, ground: Points, spread: Matrix, metres: float) -> None:
        self._pixels, self._ground, self._spread, self._metres = pixels, ground, spread, metres
        self._from_metres, self._to_unit = _normalisation(ground), _normalisation(pixels)
        self._from_unit = np.linalg.inv(self._to_unit)

    def matrix(self, parameters: Matrix) -> Matrix:
        """[3, 3], metres to pixels; positive third components at the middle of the control points."""
        return np.asarray(self._from_unit @ np.append(parameters, 1.0).reshape(3, 3) @ self._from_metres)

    def direct(self, used: npt.NDArray[np.bool_]) -> Matrix:
        """By the direct linear transform."""
        ground = projected(self._from_metres, self._ground[used])
        unit = projected(self._to_unit, self._pixels[used])
        rows = []
        for (e, n), (x, y) in zip(ground, unit, strict=True):
            rows.append([e, n, 1, 0, 0, 0, -x * e, -x * n, -x])
            rows.append([0, 0, 0, e, n, 1, -y * e, -y * n, -y])
        *_, axes = np.linalg.svd(np.array(rows, np.float64))
        solution = axes[-1]
        if abs(solution[8]) < 1e-9:
            raise GeoreferenceError("the middle of the control points would be on the horizon; mend their places")
        return np.asarray(solution[:8] / solution[8])

    def squares(self, parameters: Matrix) -> npt.NDArray[np.float64]:
        """[n], residuals squared in units of their variance; infinite behind the camera, and where nearly so."""
        off, spread = self._residuals(self.matrix(parameters))
        with np.errstate(invalid="ignore", over="ignore"):
            squares = np.einsum("ni,nij,nj->n", off, _inverses(spread), off)
        return np.where(np.isfinite(squares), squares, np.inf)

    def scale(self, parameters: Matrix, used: npt.NDArray[np.bool_]) -> float:
        """How many times larger the residuals are than was to be expected, 1 at least."""
        freedom = 2 * int(used.sum()) - 8
        if freedom <= 0:
            return 1.0
        return max(1.0, float(np.sqrt(self.squares(parameters)[used].sum() / freedom)))

    def refined(self, parameters: Matrix, used: npt.NDArray[np.bool_]) -> Matrix:
        """To the nearest minimum, by Levenberg's and Marquardt's damped steps."""
        damping, best = 1e-3, self._cost(parameters, used)
        for _ in range(MAX_STEPS):
            normal, gradient = self._normal(parameters, used)
            step = np.linalg.lstsq(normal + damping * np.diag(np.diag(normal)), -gradient, rcond=None)[0]
            cost = self._cost(parameters + step, used)
            if not cost <= best:
                damping *= 10
                if damping > 1e12:
                    break
                continue
            parameters, damping = parameters + step, max(damping / 10, 1e-12)
            if best - cost <= 1e-12 * best:
                break
            best = cost
        return parameters

    def covariance(self, parameters: Matrix, used: npt.NDArray[np.bool_]) -> Matrix:
        """[8, 8], of the parameters, if the accuracies are as stated."""
        covariance = np.asarray(np.linalg.inv(self._normal(parameters, used)[0]))
        if not np.isfinite(covariance).all():
            raise np.linalg.LinAlgError("not finite")
        return covariance

    def _cost(self, parameters: Matrix, used: npt.NDArray[np.bool_]) -> float:
        return float(self.squares(parameters)[used].sum())

    def _residuals(self, matrix: Matrix) -> tuple[Points, Matrix]:
        """[n, 2] pixels off, and [n, 2, 2] their covariance."""
        shown, by_ground = projected(matrix, self._ground), _derivative(matrix, self._ground)
        spread = self._metres**2 * by_ground @ by_ground.transpose(0, 2, 1)
        return shown - self._pixels, spread + self._spread

    def _normal(self, parameters: Matrix, used: npt.NDArray[np.bool_]) -> tuple[Matrix, Matrix]:
        """[8, 8] normal matrix and [8] gradient, with the weights of this point."""
        columns = []
        for number in range(8):
            step = np.zeros(8)
            step[number] = 1e-6
            high = projected(self.matrix(parameters + step), self._ground)
            low = projected(self.matrix(parameters - step), self._ground)
            columns.append((high - low) / 2e-6)
        slope = np.stack(columns, axis=2)[used]
        off, spread = self._residuals(self.matrix(parameters))
        weighted = _inverses(spread[used]) @ slope
        return (
            np.einsum("nik,nil->kl", slope, weighted),
            np.einsum("ni,nik->k", off[used], weighted),
        )


def _most_agreed(fit: _Fit) -> tuple[Matrix, npt.NDArray[np.bool_]]:
    """The least median of squares, and the points that agree with it."""
    count = len(fit.squares(np.zeros(8)))
    best, start = np.inf, np.zeros(8)
    for four in _samples(count):
        chosen = np.zeros(count, bool)
        chosen[list(four)] = True
        try:
            parameters = fit.direct(chosen)
        except GeoreferenceError:
            continue
        middle = (count + 5) // 2 - 1  # the four that were chosen fit exactly, and half of the others has to
        median = float(np.partition(fit.squares(parameters), middle)[middle])
        if median < best:
            best, start = median, parameters
    if not np.isfinite(best):
        raise GeoreferenceError("no half of the control points fits one plane; mend their places")
    spread = max(1.0, best / MEDIAN) * (1 + 5 / (count - 4)) ** 2
    return start, _told_apart(fit.squares(start) < LIMIT * spread)


def _samples(count: int) -> Iterable[tuple[int, ...]]:
    """All choices of four, or ``MAX_SAMPLES`` of them, always the same."""
    if count <= 10:
        return itertools.combinations(range(count), 4)
    rng = np.random.default_rng(count)
    return [tuple(rng.choice(count, 4, replace=False)) for _ in range(MAX_SAMPLES)]


def _told_apart(agreeing: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Which points to use: those that agree with each other; all, where these are too few to be right for certain, so
    that the residuals tell.

    Raises:
        GeoreferenceError: fewer than half agree.
    """
    if agreeing.sum() < max(4, len(agreeing) / 2):
        raise GeoreferenceError(
            f"only {int(agreeing.sum())} of {len(agreeing)} control points agree with each other; mend their places, "
            "or state their accuracy"
        )
    return agreeing if _surplus(agreeing) > 0 else np.ones_like(agreeing)


def _normalisation(points: Points) -> Matrix:
    """[3, 3]: centred, at a mean distance of the square root of 2 (Hartley)."""
    middle = points.mean(axis=0)
    factor = np.sqrt(2.0) / np.hypot(*(points - middle).T).mean()
    return np.array([[factor, 0, -factor * middle[0]], [0, factor, -factor * middle[1]], [0, 0, 1]])


def _inverses(spread: Matrix) -> Matrix:
    """[n, 2, 2], of covariances; NaN of those that are not finite, or of something that is nearly on a line. Three of
    four points on a line give such: corners of markings are."""
    with np.errstate(invalid="ignore", over="ignore"):
        one, mixed, other = spread[:, 0, 0], spread[:, 0, 1], spread[:, 1, 1]
        determinant = one * other - mixed**2
        determinant = np.where(determinant > SINGULAR * (one + other) ** 2, determinant, np.nan)
        adjoint = np.stack([np.stack([other, -mixed], axis=1), np.stack([-mixed, one], axis=1)], axis=1)
        return np.asarray(adjoint / determinant[:, None, None])


def _derivative(matrix: Matrix, points: Points) -> Matrix:
    """[n, 2, 2], of where the points are projected, by the points; NaN for those that are not in front."""
    x, y, w = (homogeneous(points) @ matrix.T).T
    w = np.where(w > 0, w, np.nan)
    by_x = (matrix[0, :2] * w[:, None] - x[:, None] * matrix[2, :2]) / np.square(w)[:, None]
    by_y = (matrix[1, :2] * w[:, None] - y[:, None] * matrix[2, :2]) / np.square(w)[:, None]
    return np.stack([by_x, by_y], axis=1)


def _middle(positions: Points) -> tuple[float, float]:
    """Also of positions on both sides of the antimeridian."""
    longitudes = np.unwrap(positions[:, 0], period=360.0)
    longitude = (float(longitudes.mean()) + 180.0) % 360.0 - 180.0
    return longitude, float(positions[:, 1].mean())


def _require_in_front(
    points: Sequence[ControlPoint], used: npt.NDArray[np.bool_], squares: npt.NDArray[np.float64]
) -> None:
    for number in np.flatnonzero(used & ~np.isfinite(squares)):
        raise GeoreferenceError(_on_the_horizon(points, int(number)))


def _on_the_horizon(points: Sequence[ControlPoint], number: int) -> str:
    return (
        f"control point {called(points, number)} is on the horizon of the camera that fits the points, or above it; "
        "choose one that is nearer, on the ground, or mend the others"
    )


def _require_below_horizon(
    points: Sequence[ControlPoint], used: npt.NDArray[np.bool_], below: npt.NDArray[np.float64]
) -> None:
    for number in np.flatnonzero(used):
        if not below[number] > HORIZON_DISTANCE:
            raise GeoreferenceError(_on_the_horizon(points, int(number)))
