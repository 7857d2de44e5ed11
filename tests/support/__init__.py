"""What several tests share: samples, small models, stand-ins for what is outside."""
