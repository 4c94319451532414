// stars_and_moons' training, timed as a user calls it: occam::fit() on images of shapes.
#pragma once

#include <nlohmann/json.hpp>

namespace occam::bench {

// Trains "members" networks 40000-1024-1024-2 by Adam with learning rate 1e-4 for "updates" updates of 100 images,
// on "threads" threads of "device". Replies the times of data, initial weights and training together, and
// of each member its accuracy on the training and the i.i.d. test images and where places say nothing.
nlohmann::json fit_images(const nlohmann::json& request);

// Writes the images for the rivals, .npz: x_train, x_iid, x_uniform [rows][40000] uint8 and y_… of seed 0.
nlohmann::json export_images(const nlohmann::json& request);

}  // namespace occam::bench
