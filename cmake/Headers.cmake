# lsn_headers: each header of include/lsn compiled alone, with the include roots of its room
# (scripts/lint). Not built otherwise.
add_custom_target(lsn_headers)

# lsn_headers_alone(ROOM TARGET PATTERN ...): the headers of a room, compiled with TARGET's roots.
function(lsn_headers_alone room target)
  set(sources)
  foreach(pattern ${ARGN})
    file(GLOB_RECURSE headers CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/include
         ${PROJECT_SOURCE_DIR}/include/lsn/${pattern})
    foreach(header ${headers})
      string(REPLACE "/" "_" name ${header})
      set(source ${CMAKE_BINARY_DIR}/headers/${name}.cpp)
      file(CONFIGURE OUTPUT ${source} CONTENT "#include \"${header}\"\n")
      list(APPEND sources ${source})
    endforeach()
  endforeach()
  add_library(lsn_${room}_alone OBJECT EXCLUDE_FROM_ALL ${sources})
  set_target_properties(lsn_${room}_alone PROPERTIES UNITY_BUILD OFF)
  target_compile_options(lsn_${room}_alone PRIVATE -O0 -g0)
  target_link_libraries(lsn_${room}_alone PRIVATE ${target} lsn_flags)
  add_dependencies(lsn_headers lsn_${room}_alone)
endfunction()

lsn_headers_alone(wire lsn_wire wire/*.hpp)
lsn_headers_alone(state lsn_state state/*.hpp)
lsn_headers_alone(shared lsn_shared shared/*.hpp)
lsn_headers_alone(context lsn_context_headers
                  datapath/context.hpp datapath/overload.hpp datapath/packet.hpp
                  datapath/parse.hpp datapath/recent_drops.hpp datapath/verdict.hpp)
lsn_headers_alone(l3 lsn_l3_headers datapath/l3/*.hpp)
lsn_headers_alone(lsn44 lsn_lsn44_headers datapath/lsn44/*.hpp)
lsn_headers_alone(ipsec_alg lsn_ipsec_alg_headers datapath/ipsec_alg/*.hpp)
lsn_headers_alone(path lsn_path_headers
                  datapath/path.hpp datapath/pipeline.hpp datapath/shard.hpp)
lsn_headers_alone(control lsn_control control/*.hpp)
lsn_headers_alone(runtime lsn_runtime runtime/*.hpp)
