"""Roll-out of an approved model: canary, bake time with a judgement of quality, then the fleet, or back again."""
