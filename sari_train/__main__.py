"""``python -m sari_train``, which launchers of several processes start."""

from sari_train.cli import main

if __name__ == "__main__":
    main()
