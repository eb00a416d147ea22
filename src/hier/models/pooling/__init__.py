"""From a backbone's maps to its features, each way in the file of its name (`avg+max`: avg_max.py).

The file defines

    def pool(backbone: torch.nn.Module, name: str) -> None

which puts the pooling into a timm network (`name`: what timm calls it) and raises ConfigError where it
does not go with it.
"""
