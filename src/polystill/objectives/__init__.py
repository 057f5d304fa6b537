"""What is minimised: each objective as published, and the fused vocabulary loss that computes them fast."""
