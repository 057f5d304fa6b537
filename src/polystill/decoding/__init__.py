"""Translation: beam search in torch, the CTranslate2 engine, and streams of lines over either."""
