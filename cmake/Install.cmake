# The files of an installation: `lsnd` becomes one of LIBEXEC/lsnd/ARCH/lsnd (src/app/launcher), so
# that several builds, each installed with COMPONENT build, are one installation; COMPONENT base is
# the rest. Man pages and completions are made of the programs' --help.
include(GNUInstallDirs)

# For any x86-64, whatever the others are built for.
add_executable(lsnd_launcher ${PROJECT_SOURCE_DIR}/src/app/launcher/main.cpp)
set_target_properties(lsnd_launcher PROPERTIES OUTPUT_NAME lsnd RUNTIME_OUTPUT_DIRECTORY
                      ${CMAKE_BINARY_DIR}/sbin UNITY_BUILD OFF)
target_compile_options(lsnd_launcher PRIVATE -march=x86-64 -Wall -Wextra -Wconversion -Wshadow
                       $<$<BOOL:${LSN_WERROR}>:-Werror>)

lsn_program(lsnmanual lsn_control)
target_compile_options(lsnmanual PRIVATE -O1 -g1)
set(help)
foreach(program lsnd lsnctl)
  add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/manual/${program}.help
                     COMMAND ${program} --help > ${CMAKE_BINARY_DIR}/manual/${program}.help
                     DEPENDS ${program} VERBATIM)
  list(APPEND help ${CMAKE_BINARY_DIR}/manual/${program}.help)
endforeach()
set(manual)
foreach(page lsnd.8 lsnctl.1 lsnd.conf.5 lsnd.bash lsnctl.bash lsnd.zsh lsnctl.zsh)
  add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/manual/${page}
                     COMMAND lsnmanual ${page} ${help} > ${CMAKE_BINARY_DIR}/manual/${page}
                     DEPENDS lsnmanual ${help} VERBATIM)
  list(APPEND manual ${CMAKE_BINARY_DIR}/manual/${page})
endforeach()
add_custom_target(lsn_manual ALL DEPENDS ${manual})

install(TARGETS lsnd DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/lsnd/${LSN_ARCH} COMPONENT build)
install(TARGETS lsnd_launcher DESTINATION ${CMAKE_INSTALL_SBINDIR} COMPONENT base)
install(TARGETS lsnctl DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT base)
foreach(page lsnd.8 lsnctl.1 lsnd.conf.5)
  string(REGEX REPLACE ".*\\." "" section ${page})
  install(FILES ${CMAKE_BINARY_DIR}/manual/${page}
          DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section} COMPONENT base)
endforeach()
foreach(program lsnd lsnctl)
  install(FILES ${CMAKE_BINARY_DIR}/manual/${program}.bash RENAME ${program}
          DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions COMPONENT base)
  install(FILES ${CMAKE_BINARY_DIR}/manual/${program}.zsh RENAME _${program}
          DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions COMPONENT base)
endforeach()
