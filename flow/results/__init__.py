"""What stages and commands find, as frozen dataclasses; `run/typed_json.py` makes JSON of them."""
