"""Gateway API and Python plugins on Envoy by delta ADS."""
