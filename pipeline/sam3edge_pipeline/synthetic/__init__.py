"""Seeded synthetic scenes with exact instance masks: what the demo model is trained and judged on.

Two worlds: metal tags on a workbench (``metal tag``, ``scratch``, ``dent``, ``hole``) and overhead views (``ship``,
``car``, ``building``, ``field``, ``road``, ``tree``). A scene is a pure function of its seed.
"""

from sam3edge_pipeline.synthetic.scene import HELD_OUT_SEEDS, PHRASES, Scene, SceneInstance, draw_scene

__all__ = ["HELD_OUT_SEEDS", "PHRASES", "Scene", "SceneInstance", "draw_scene"]
