"""How good a model is, by COCO's rules and by SAM 3's own, on labelled images that nothing was chosen by."""
