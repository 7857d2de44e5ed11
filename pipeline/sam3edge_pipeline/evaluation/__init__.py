"""How good a model is, by COCO's rules."""
