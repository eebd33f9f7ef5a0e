// Writes the models of family_models.h to a folder, for make_family_goldens.py: write_family_models FOLDER

#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "tests/oracle/family_models.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: write_family_models FOLDER\n");
    return 2;
  }
  for (const std::string& name : longhaul::FamilyModelNames()) {
    const std::vector<std::byte> bytes = longhaul::FamilyModel(name).Build();
    std::ofstream file(std::string(argv[1]) + "/" + name + ".gguf", std::ios::binary);
    file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    if (!file.flush()) {
      std::fprintf(stderr, "cannot write %s.gguf to %s\n", name.c_str(), argv[1]);
      return 1;
    }
  }
  return 0;
}
