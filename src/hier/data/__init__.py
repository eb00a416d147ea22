"""From an archive to batches of images: download, layouts, image store, sampling, augmentation."""
