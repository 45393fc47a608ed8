# The shader modules: name, source, defines. What is not a weight format is a specialisation
# constant, not a module.

tandem_shader(fill SOURCE fill.comp)
