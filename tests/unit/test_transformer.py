import math

import torch

from polystill.models.transformer import sinusoidal_positions


def test_initial_logits_are_of_order_one(make_batch) -> None:
    from polystill.models.transformer import Transformer, TransformerConfig

    torch.manual_seed(1)
    model = Transformer(TransformerConfig(1000, 999, 0, 64, 6, 6, ffn_dim=128, heads=4)).eval()
    batch = make_batch(vocabulary_size=1000)
    assert 0.3 < model(batch.source, batch.target_in).std().item() < 3
    assert model.embedding[999].abs().sum() == 0
    bound = math.sqrt(6 / (64 + 64))
    assert model.encoder_layers(1)[0].self_attention.query_key_value.weight.abs().max().item() <= bound


def test_positions_are_sines_then_cosines() -> None:
    positions = sinusoidal_positions(5, 4)
    expected = [math.sin(3), math.sin(3 / 100), math.cos(3), math.cos(3 / 100)]
    torch.testing.assert_close(positions[3], torch.tensor(expected))
