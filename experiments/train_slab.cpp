// The general tool: any slab data (or data of your own, --data FILE.npz), any network and training. Every
// field has a flag, every flag takes a list, lists multiply into cases, and the members of a case are its
// seeds.
//   train_slab --dim 20 --slabs5 9 --slabs7 10 --hidden 100x100 --lr 0.01,0.1 --seeds 3 --measure swap
#include "occam/experiment.hpp"

int main(int argc, char** argv) {
  occam::Experiment experiment("train_slab",
                               "Trains networks on slab data and measures which coordinates they rely on.");
  experiment.accept_user_data();
  experiment.sizes(
      {.cpu_quick = 1, .cpu = 2, .cpu_full = 20, .cuda_quick = 20, .cuda = 100, .cuda_full = 1000});
  const occam::Case defaults;  // unnamed: its cases are called after the settings that vary
  return experiment.run(argc, argv, [&] { experiment.add(defaults); });
}
