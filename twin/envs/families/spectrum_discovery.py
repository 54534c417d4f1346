"""``stemtwin/SpectrumDiscovery-v1``: a search with few spectra for the best positions in a scene whose image is given."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from stemtwin.twin import checks
from stemtwin.twin.envs import spectral_scenes as scenes
from stemtwin.twin.envs.arguments import one_of
from stemtwin.twin.envs.discovery import environment
from stemtwin.twin.envs.functional_env import read_only
from stemtwin.twin.envs.goal_family import GoalFamily
from stemtwin.twin.envs.image_features import stretched
from stemtwin.twin.envs.preparation import PreparationLine
from stemtwin.twin.envs.scalarisers import EXPOSURES, SCALARISERS, TECHNIQUES, best_places, ranks
from stemtwin.twin.envs.spectral_presets import EASY, HARD, SECONDS_PER_ELECTRON, STANDARD, Discovery, DiscoveryPreset
from stemtwin.twin.envs.spectral_scenes import SpectralScene
from stemtwin.twin.errors import SettingsError

ID = "stemtwin/SpectrumDiscovery-v1"
DECLARE = 0.9
"""Threshold of the last component of an action, above which the end is declared."""
LARGEST = 100.0
"""Value at which scores are clipped."""
SHARE = 0.5
"""Weight of the recall in the achievement; the weight of the answer is 1 minus this number."""
FAR = 10.0
"""Rank, in units of the best 1 %, from which on a position has the value 0 in the area under the curve."""
TILES = 16
"""Number of tiles along each side of the image in the form "state"."""
LARGEST_COUNT = 2**32 - 1


@environment("SpectrumDiscovery", version=1, max_episode_steps=81, reward_threshold=0.4)
@dataclass(frozen=True, slots=True, kw_only=True)
class SpectrumDiscovery(GoalFamily[Discovery]):
    """Find the best positions of a scene from a few spectra, given its dark-field image.

    Description
        A field of 128 A has a flake of MoS2 with particles of gold, silver, FeO and maghemite on it. Its dark-field
        image (200 kV, convergence semi-angle 10 mrad, detector from 40 to 120 mrad) is given. The agent sends the beam
        to positions on a grid of 32 x 32 and takes a spectrum at each: either X-rays (EDX), or energy losses (EELS) in
        two exposures, one of the low losses and one of the L edges of iron. On a real microscope this is the point mode
        of spectroscopy; the controls are beam position and detector. A scalariser reduces a spectrum to one number, the
        ratio of the counts in two windows, and the goal is to find the best 1 % of the positions:

        ================ ========= =========================================== ==================================================
        Scalariser       Technique Ratio of windows, eV                        Positions of high values
        ================ ========= =========================================== ==================================================
        ``peak-ratio``   EDX       640 to 840 over 440 to 600                  FeO, which has more iron per oxygen
        ``edge-plasmon`` EELS      1.3 to 1.9 over -0.5 to 0.5, times 100      sharp corners of the flake
        ``valence``      EELS      708.5 to 711.0 over 706.0 to 708.5          maghemite, whose iron is trivalent
        ================ ========= =========================================== ==================================================

        Brightness is misleading: gold is brightest, and the brightest 1 % of the positions includes no best position.
        The correlation of the image with the expected scalariser is 0.06, -0.15 and 0.02 in the order above (means over
        the scenes of ``val``, with ranges 0.00 to 0.13, -0.18 to -0.11 and -0.01 to 0.07). Images are computed by the
        engine ``thermal``, with an error of a few percent. Spectra are computed for a thin specimen, without channelling.
        Images and spectra are expected values for the same atoms, and every step draws counts from them. There is no drift
        and no damage.

    Action space
        ``Box(-1, 1, (4,))``

        ========= =========== ===================================================================
        Component Meaning     Range
        ========= =========== ===================================================================
        0, 1      x, y        -1 to 1: over the field; the nearest candidate is measured
        2         technique   below 0: EELS, else EDX
        3         declaration above 0.9: the episode ends, and the position is the answer
        ========= =========== ===================================================================

        A declaration takes no spectrum. A position may be measured again. Every spectrum, of either technique, reduces the
        remaining number of spectra by one. A spectrum of the wrong technique for the scalariser has score 0, and its
        position does not count as measured. The same holds for a dark spectrum due to a closed valve (``randomisation``).
        After the last spectrum, an action without a declaration ends the episode.

    Observation space
        ``counts``: a ``Dict``; q is the number of spectra of the preset, n = 32.

        ============= ===================== ======================================================= ==== ===============
        Component     Type                  Meaning                                                 Unit Range
        ============= ===================== ======================================================= ==== ===============
        ``image``     uint16 (2 n, 2 n)     dark-field image, [y, x]                                e-   0 to 65535
        ``low``       uint32 (90,)          last low losses, from -1 eV, 0.1 eV per channel         e-   0 to 2^32 - 1
        ``core``      uint32 (48,)          last core losses, from 703 eV, 0.5 eV per channel       e-   0 to 2^32 - 1
        ``edx``       uint32 (200,)         last X-rays, from 200 eV, 40 eV per channel                  0 to 2^32 - 1
        ``places``    float32 (q, 2)        positions (x, y) of all spectra, padded with zeros           -1 to 1
        ``edx_taken`` MultiBinary(q)        1 for EDX, in the order taken, padded with zeros             0, 1
        ``scores``    float32 (q,)          scalariser of each spectrum, padded with zeros               0 to 100
        ``target``    MultiBinary(3)        1 at the scalariser, order as above; zeros if hidden         0, 1
        ``budget``    float32 (1,)          remaining fraction of the spectra                            0 to 1
        ============= ===================== ======================================================= ==== ===============

        ``low``, ``core`` and ``edx`` are zeros if the last spectrum does not contain them.

        ``pixels``: ``image`` uint8 (3, 2 n, 2 n): image, scores divided by the largest score, positions of spectra;
        ``scalars`` float32 (4,): target and budget. ``state``: float32 in [-1, 1]: the square root of the mean of the image
        in each of 256 tiles (16 along each side), divided by the largest root; then positions, ``edx_taken``, scores
        divided by the largest score, mask of the spectra taken so far, target, and budget.

    Reward
        0.3 [P(s') - P(s)] + 0.6 V - 0.1 [B(s') - B(s)]. P is the recall R. The best candidates are the 1 % with the
        largest expected scalariser, and R is the fraction of them that count as measured. The declaration
        earns the achievement V = R / 2, plus 1/2 if the declared position is a best candidate. B is the spent fraction
        of the spectra. The agent's best score relative to the largest score is not rewarded, because random positions
        already reach most of the largest score.

    Starting state
        The episode draws one of the scenes of the split, one of its eight orientations, and one of the three
        scalarisers, all with equal probabilities. A scene is computed when an episode first needs it (about 15 s) and
        cached; ``stemtwin warm`` computes all scenes beforehand. ``train`` and ``val`` have eight scenes each and no
        scene in common. Their seeds are public, so anybody can compute their answers. The eight scenes of the task's
        episodes and the seeds of the episodes follow from the key of the task. The key of the task's split ``public``
        is published, so scores in this split are for practice.

        If the scalariser is hidden, only its name is hidden: ``target`` is zeros, but every spectrum returns its score.
        One spectrum of each technique reveals the technique of the scalariser, and a comparison of the scores with the
        counts reveals its windows.

        Options of ``reset``: ``target``, the name of a scalariser, and ``scene``, a number below ``scenes``.

    Episode end
        An episode is terminated when the agent declares a position. It is truncated if the action after the last spectrum
        does not declare a position.

    Presets
        ============ ======= ================ ============== =============== ========== ==========
        Preset       Spectra Image, e-/pixel  Low losses, e- Core losses, e- X-rays, e- Scalariser
        ============ ======= ================ ============== =============== ========== ==========
        ``easy``     80      20000            2e7            4e8             4e9        named
        ``standard`` 50      4000             6e6            1.2e8           1.2e9      named
        ``hard``     32      1000             2e6            4e7             4e8        hidden
        ============ ======= ================ ============== =============== ========== ==========

        Scenes and scalarisers are the same in all presets.

    Baselines
        Three searches maximise the upper confidence bound of a Gaussian process: on positions (``gp-position``), on
        image patches and positions (``expert``), and on positions and patch features that a small network learns
        jointly with the process, by the marginal likelihood after every spectrum (``deep-kernel``). Mean differences
        over the same 100 episodes of ``val``:

        ============ ============================ =========================== ==============================
        Preset       deep-kernel - gp-position    deep-kernel - expert        expert - gp-position
        ============ ============================ =========================== ==============================
        ``easy``     0.107 (0.040 to 0.187)       0.048 (-0.018 to 0.119)     0.059 (-0.001 to 0.150)
        ``standard`` 0.095 (-0.004 to 0.195)      0.079 (0.017 to 0.151)      0.017 (-0.051 to 0.076)
        ``hard``     -0.012 (-0.108 to 0.085)     -0.005 (-0.073 to 0.070)    -0.007 (-0.104 to 0.062)
        ============ ============================ =========================== ==============================

        The lead of the deep kernel increases with the number of spectra. In ``hard`` the intervals do not separate the
        searches, and in no preset do they separate ``expert`` from ``gp-position``. Episodes of one scene are correlated,
        so all intervals, including those of the reference scores, are computed by resampling whole scenes. Some parameters
        of the searches were chosen on scenes of ``val``, so their returns on ``val`` may be slightly high; ``scene_root`` gives
        other scenes.

    Example
        ::

            import gymnasium as gym, numpy as np, stemtwin

            env = gym.make("stemtwin/SpectrumDiscovery-v1", difficulty="easy", field_angstrom=48.0, scenes=1)  # small: made in seconds
            seen, info = env.reset(seed=1)
            rng, over = np.random.default_rng(1), False
            while not over:
                best, stop = seen["places"][np.argmax(seen["scores"])], seen["budget"][0] == 0
                technique = 1 if seen["target"][0] else -1
                action = np.array([*(best if stop else rng.uniform(-1, 1, 2)), technique, 1 if stop else -1], np.float32)
                seen, reward, terminated, truncated, info = env.step(action)
                over = terminated or truncated

    Version history
        v1: first version.

    Parameters
    ----------
    field_angstrom : float
        Side of the scenes, A.
    scenes : int
        Number of scenes of the split, at most eight; fewer scenes are computed faster.
    spectra : int, optional
        Number of spectra of an episode, instead of the preset's number.
    scene_root : int, optional
        Number from which the seeds of the scenes are derived; these scenes replace those of the split.
    difficulty, split, observation, reward, randomisation, privileged_info
        See ``stemtwin.twin.envs.arguments.EnvArguments``. ``randomisation`` accepts the probability ``closed_valve``.

    Raises
    ------
    StemtwinError
        A name is unknown or a number is out of range.
    """

    PRESETS: ClassVar[Mapping[str, DiscoveryPreset]] = {"easy": EASY, "standard": STANDARD, "hard": HARD}
    RANDOMISED: ClassVar[tuple[str, ...]] = ("closed_valve",)
    RESET_OPTIONS: ClassVar[tuple[str, ...]] = ("target", "scene")

    field_angstrom: float = 128.0
    scenes: int = scenes.SCENES
    spectra: int | None = None
    scene_root: int | None = None

    def __post_init__(self) -> None:
        """Check the arguments."""
        GoalFamily.__post_init__(self)
        checks.number("field_angstrom", self.field_angstrom, "A", low=48, high=200)
        checks.whole("scenes", self.scenes, low=1, high=scenes.SCENES)
        if self.spectra is not None:
            checks.whole("spectra", self.spectra, low=1, high=EASY.spectra)
        if self.scene_root is not None:
            checks.whole("scene_root", self.scene_root, low=0, high=2**128 - 1)

    @property
    def side(self) -> int:
        """Number of candidate positions along each side of the field."""
        return scenes.candidates(self.field_angstrom)

    @property
    def queries(self) -> int:
        """Number of spectra of an episode."""
        return self.preset.spectra if self.spectra is None else self.spectra

    @property
    def scene_seeds(self) -> tuple[int, ...]:
        """Seeds of the scenes.

        Raises
        ------
        SettingsError
            The split is ``test``, and ``scene_root`` is None.
        """
        if self.split == "test" and self.scene_root is None:
            message = "SpectrumDiscovery with split='test' needs the scenes of a task. Run the task, or give scene_root."
            raise SettingsError(message)
        return scenes.scene_seeds(self.split, self.scenes, self.scene_root)

    def prepare(self, line: PreparationLine) -> None:
        """Check that the split has scenes; a scene is computed (about 15 s) and cached when an episode first needs it."""
        del line
        _ = self.scene_seeds

    def prepare_all(self) -> None:
        """Compute all scenes of the split that are not cached."""
        for number in range(self.scenes):
            self.shown(number, 0)

    # ---- spaces

    @property
    def action_space(self) -> gym.spaces.Box:
        """Space of actions: position (x, y), technique and declaration."""
        return gym.spaces.Box(-1.0, 1.0, (4,), np.float32)

    @property
    def observation_space(self) -> gym.spaces.Space:
        """Space of observations: image, last spectrum, positions, techniques, scores, target and budget in the chosen form."""
        pixels, count = scenes.FINER * self.side, self.queries
        if self.observation == "state":
            return gym.spaces.Box(-1.0, 1.0, (TILES**2 + 5 * count + len(SCALARISERS) + 1,), np.float32)
        scalars = len(SCALARISERS) + 1
        if self.observation == "pixels":
            image = gym.spaces.Box(0, 255, (3, pixels, pixels), np.uint8)
            return gym.spaces.Dict({"image": image, "scalars": gym.spaces.Box(-1.0, 1.0, (scalars,), np.float32)})
        return gym.spaces.Dict(
            {
                "image": gym.spaces.Box(0, 65535, (pixels, pixels), np.uint16),
                **{name: gym.spaces.Box(0, LARGEST_COUNT, (detector.channels,), np.uint32) for name, (detector, _) in EXPOSURES.items()},
                "places": gym.spaces.Box(-1.0, 1.0, (count, 2), np.float32),
                "edx_taken": gym.spaces.MultiBinary(count),
                "scores": gym.spaces.Box(0.0, LARGEST, (count,), np.float32),
                "target": gym.spaces.MultiBinary(len(SCALARISERS)),
                "budget": gym.spaces.Box(0.0, 1.0, (1,), np.float32),
            }
        )

    # ---- the episode

    def check_reset(self, *, target: str | None = None, scene: int | None = None) -> None:
        """Raise an error for an unknown scalariser or an unknown scene in the options of ``reset``.

        Raises
        ------
        StemtwinError
            A name is unknown, or the number of the scene is not below ``scenes``.
        """
        if target is not None:
            one_of("target", target, tuple(SCALARISERS))
        if scene is not None:
            checks.whole("scene", scene, low=0, high=self.scenes - 1)

    def initial(self, rng: np.random.Generator, *, target: str | None = None, scene: int | None = None) -> Discovery:
        """Draw scene, orientation and scalariser, and take the image.

        Parameters
        ----------
        rng : numpy.random.Generator
            Random generator of the start.
        target : str, optional
            Name of the scalariser; it is drawn if it is not given.
        scene : int, optional
            Number of the scene; it is drawn if it is not given.
        """
        asked, which, turn = rng.random(3)
        number = int(which * self.scenes) if scene is None else scene
        target = tuple(SCALARISERS)[int(asked * len(SCALARISERS))] if target is None else target
        turn = int(turn * 8)
        found = self.shown(number, turn)
        image = np.minimum(rng.poisson(found.image * self.preset.image_electrons), 65535).astype(np.uint16)
        asked_for = SCALARISERS[target]
        worth = np.asarray(asked_for.value(getattr(found, asked_for.spectrum).astype(float), 1.0))
        tiles = image.reshape(self.side, scenes.FINER, self.side, scenes.FINER).mean(axis=(1, 3))
        return Discovery(
            scene=number,
            turn=turn,
            target=target,
            image=read_only(image),
            worth=read_only(worth),
            ranks=read_only(ranks(worth)),
            best=tuple(best_places(worth).tolist()),
            brightness=float(np.corrcoef(tiles.ravel(), worth.ravel())[0, 1]),
        )

    def shown(self, number: int, turn: int) -> SpectralScene:
        """Return a scene in one of its eight orientations."""
        seed = self.scene_seeds[number]
        if not scenes.is_kept(self.field_angstrom, seed):
            PreparationLine(ID).part("scene", number + 1, self.scenes, scenes.seconds(self.field_angstrom))
        return scenes.scene(self.field_angstrom, seed).turned(turn)

    def transition(self, state: Discovery, action: np.ndarray, rng: np.random.Generator) -> Discovery:
        """Declare the answer, or take a spectrum at the candidate nearest to the position of the action."""
        place = self.candidate(action)
        state = replace(state, moves=state.moves + 1)
        if action[3] > DECLARE:
            return replace(state, answer=place)
        if len(state.places) >= self.queries:
            return state
        found, technique, asked = self.shown(state.scene, state.turn), TECHNIQUES[int(action[2] >= 0)], SCALARISERS[state.target]
        row, column = divmod(place, self.side)
        dark, spectra = float(rng.random() < self.conditions().closed_valve), {}
        for name, (detector, taken_by) in EXPOSURES.items():
            expected = getattr(found, name)[row, column].astype(float) * ((1 - dark) * self.preset.electrons(name))
            counts = rng.poisson(expected) if taken_by == technique else np.zeros(detector.channels)
            spectra[name] = read_only(counts.astype(np.uint32))
        told = asked.technique == technique and not dark
        score = float(asked.value(spectra[asked.spectrum], self.preset.electrons(asked.spectrum))) if told else 0.0
        return replace(
            state,
            places=(*state.places, place),
            techniques=(*state.techniques, technique),
            scores=(*state.scores, min(score, LARGEST)),
            spectra=tuple(spectra.values()),
        )

    def candidate(self, action: np.ndarray) -> int:
        """Return the number of the candidate nearest to the position of an action."""
        column, row = np.clip(((np.asarray(action[:2], float) + 1) / 2 * self.side).astype(int), 0, self.side - 1)
        return int(row) * self.side + int(column)

    def place(self, candidates: int | Sequence[int]) -> np.ndarray:
        """Return the positions (x, y) of candidates in the units of the action, (2,) or (n, 2)."""
        rows, columns = np.divmod(candidates, self.side)
        return (2 * (np.stack([columns, rows], axis=-1) + 0.5) / self.side - 1).astype(np.float32)

    # ---- observation

    def observe(self, state: Discovery) -> Any:
        """Return the observation in the chosen form."""
        count = self.queries
        places, scores, edx = np.zeros((count, 2), np.float32), np.zeros(count, np.float32), np.zeros(count, np.int8)
        if state.places:
            edx[: len(state.places)] = [one == "edx" for one in state.techniques]
            places[: len(state.places)] = self.place(state.places)
            scores[: len(state.scores)] = state.scores
        target = np.array([self.preset.named and name == state.target for name in SCALARISERS], np.int8)
        left = np.array([1 - len(state.places) / count], np.float32)
        if self.observation == "counts":
            spectra = state.spectra or [np.zeros(detector.channels, np.uint32) for detector, _ in EXPOSURES.values()]
            shown = {name: counts.copy() for name, counts in zip(EXPOSURES, spectra, strict=True)}
            told = {"places": places, "edx_taken": edx, "scores": scores, "target": target, "budget": left}
            return {"image": state.image.copy(), **shown, **told}
        scalars = np.concatenate([target, left]).astype(np.float32)
        if self.observation == "pixels":
            return {"image": self._layers(state), "scalars": scalars}
        taken = (np.arange(count) < len(state.places)).astype(np.float32)
        relative = scores / max(float(scores.max()), 1e-9)
        return np.concatenate([self._tiles(state), places.ravel(), edx, relative, taken, scalars]).astype(np.float32)

    def _tiles(self, state: Discovery) -> np.ndarray:
        """Return the square roots of the means of the image in 16 x 16 tiles, divided by the largest root, float (256,)."""
        pixels = len(state.image)
        edges = np.arange(TILES) * pixels // TILES
        sums = np.add.reduceat(np.add.reduceat(state.image.astype(float), edges, axis=0), edges, axis=1)
        roots = np.sqrt(sums / np.outer(*2 * [np.diff(np.append(edges, pixels))]))
        return (roots / max(float(roots.max()), 1e-9)).ravel()

    def _layers(self, state: Discovery) -> np.ndarray:
        """Return image, scores over the largest score, and mask of measured candidates, uint8 (3, 2 n, 2 n)."""
        scores, taken = np.zeros(self.side**2), np.zeros(self.side**2)
        for place, score in zip(state.places, state.scores, strict=True):
            scores[place], taken[place] = score, 1
        maps = np.stack([scores / max(float(scores.max()), 1e-9), taken]).reshape(2, self.side, self.side)
        larger = np.kron(255 * maps, np.ones((1, scenes.FINER, scenes.FINER)))
        return np.concatenate([stretched(np.sqrt(state.image), least=1.0)[None], larger.astype(np.uint8)])

    # ---- the goal

    def recall(self, state: Discovery) -> float:
        """Return the recall: the fraction of the best candidates (1 % of all candidates) that have a score above 0."""
        return len(set(state.best) & set(state.measured)) / len(state.best)

    def area(self, state: Discovery) -> float:
        """Return the area under the curve of a search, in [0, 1].

        The value of a position is 1 in the best 1 % of all positions, 0 beyond the best 10 %, and linear in log(rank)
        between. The curve is the value of the best position measured so far against the number of spectra; the area is
        its mean over all spectra of the budget.
        """
        most = len(state.best)
        worths = [
            max(0.0, 1 - max(0.0, math.log(state.ranks[place] / most)) / math.log(FAR)) if score > 0 else 0.0
            for place, score in zip(state.places, state.scores, strict=True)
        ]
        if not worths:
            return 0.0
        curve = np.maximum.accumulate(worths)
        return float((curve.sum() + (self.queries - len(curve)) * curve[-1]) / self.queries)

    def spent(self, state: Discovery) -> float:
        """Return the fraction of the allowed spectra that has been taken."""
        return len(state.places) / self.queries

    def potential(self, state: Discovery) -> float:
        """Return the recall; see :meth:`recall`."""
        return self.recall(state)

    def declared(self, state: Discovery) -> bool:
        """Return True if an answer was declared."""
        return state.answer is not None

    def success(self, state: Discovery) -> bool:
        """Return True if the declared position is one of the best 1 % of all candidate positions."""
        return state.answer is not None and state.answer in state.best

    def achievement(self, state: Discovery) -> float:
        """Return half the recall (see :meth:`recall`), plus one half if the declared position is one of the best 1 %."""
        return SHARE * self.recall(state) + (1 - SHARE) * self.success(state)

    def truncated(self, state: Discovery) -> bool:
        """Return True if the action after the last spectrum did not declare a position."""
        return not self.declared(state) and state.moves > len(state.places)

    def cost(self, state: Discovery) -> dict[str, float]:
        """Return the mean dose of the field (e-/A^2), beam time on the specimen (s), and numbers of actions, spectra and EDX spectra."""
        preset, count = self.preset, len(state.places)
        each = {technique: sum(preset.electrons(name) for name, (_, by) in EXPOSURES.items() if by == technique) for technique in TECHNIQUES}
        electrons = preset.image_electrons * state.image.size + sum(each[technique] for technique in state.techniques)
        return {
            "dose_e_per_angstrom2": electrons / self.field_angstrom**2,
            "beam_s": electrons * SECONDS_PER_ELECTRON,
            "moves": float(state.moves),
            "spectra": float(count),
            "edx_spectra": float(state.techniques.count("edx")),
        }

    def truth(self, state: Discovery) -> dict[str, float]:
        """Return the indices of scene, scalariser and best candidates, and four further numbers.

        The numbers are ``brightness_correlation``, ``recall``, ``area`` (see :meth:`area`), and ``answer_rank`` (0 without an answer).
        """
        return {
            "scene_number": float(state.scene),
            "target": float(tuple(SCALARISERS).index(state.target)),
            "brightness_correlation": state.brightness,
            "recall": self.recall(state),
            "area": self.area(state),
            "answer_rank": 0.0 if state.answer is None else float(state.ranks[state.answer]),
            **{f"best_{number}": float(one) for number, one in enumerate(state.best)},
        }

    def picture(self, state: Discovery) -> np.ndarray:
        """Draw the image with measured positions, the last spectrum and the budget; return uint8, shape (height, width, 3)."""
        from stemtwin.twin.envs import spectra_pictures

        named = f"{state.target}: {SCALARISERS[state.target].title}" if self.preset.named else "hidden scalariser"
        return spectra_pictures.spectra_picture(
            state.image,
            [(self.place(one), score) for one, score in zip(state.places, state.scores, strict=True)],
            dict(zip(EXPOSURES, state.spectra, strict=False)),
            answer=None if state.answer is None else self.place(state.answer),
            left=1 - self.spent(state),
            dose=self.cost(state)["dose_e_per_angstrom2"],
            field=self.field_angstrom,
            title=named,
        )
