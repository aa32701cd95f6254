"""Parameters and multiply-adds (windows of 100 frames) of the networks at the sizes of train/sizes.py, by hand."""

# GRU has two biases per gate, LSTM one.
PARAMETERS = {
    "ann": 41 * 256 + 3 * 257 * 256 + 257 * 7,
    "lstm": 4 * (40 + 128 + 1) * 128 + 129 * 64 + 65 * 7,
    "gru": 3 * (40 + 128 + 2) * 128 + 3 * (128 + 128 + 2) * 128 + 129 * 256 + 257 * 7,
    "rnn": (40 + 128 + 1) * 128 + 129 * 64 + 65 * 7,
    # Convolutions without bias, each followed by four BatchNorm values per filter.
    "cnn": 9 * (16 + 16 * 32 + 32 * 64 + 64 * 96) + 4 * (16 + 32 + 64 + 96) + 97 * 128 + 129 * 7,
    "causal_cnn": 40 * 40 + 25 * 2 * 24 + 9 * (24 * 48 + 48 * 64 + 64 * 108) + 4 * (24 + 48 + 64 + 108)
    + (20 * 24 + 10 * 48 + 5 * (64 + 108)) + 217 * 80 + 81 * 7,
}
MULTIPLY_ADDS = {
    "ann": 40 * 256 + 3 * 256 * 256 + 256 * 7,
    "lstm": 100 * 4 * (40 + 128) * 128 + 128 * 64 + 64 * 7,
    "gru": 100 * 3 * ((40 + 128) * 128 + (128 + 128) * 128) + 128 * 256 + 256 * 7,
    "rnn": 100 * (40 + 128) * 128 + 128 * 64 + 64 * 7,
    "cnn": 9 * (100 * 40 * 16 + 50 * 20 * 16 * 32 + 25 * 10 * 32 * 64 + 13 * 5 * 64 * 96) + 96 * 128 + 128 * 7,
    # 25 blocks, of which the first convolution makes two rows and the others one; bands 40, 20, 10, 5, 5.
    "causal_cnn": 100 * 40 * 40
    + 25 * (2 * 20 * 25 * 2 * 24 + 9 * (10 * 24 * 48 + 5 * 48 * 64 + 5 * 64 * 108) + 216 * 80 + 80 * 7),
}
